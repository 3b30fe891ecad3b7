const http = require("node:http");

const server = http.createServer((_request, response) => {
  response.end(`${new Date().toISOString()}\n`);
});
server.listen(Number(process.env.PORT));
