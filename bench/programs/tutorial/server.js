// The twin of ../server/main.go, for machines without Go.
const http = require("node:http");

const port = process.env.PORT || "8080";
const server = http.createServer((_request, response) => {
  response.end(`Hello from ${process.env.FLY_APP_NAME}!\n`);
});
server.listen(Number(port), () => console.log(`listening on port ${port}`));
