const http = require("node:http");

const server = http.createServer((request, response) => {
  response.end(`Hello, ${request.socket.remoteAddress}!\n`);
});
server.listen(Number(process.env.PORT), "0.0.0.0");
