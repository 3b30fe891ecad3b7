// An ordinary HTTP program. `/ask/ADDRESS` asks a member back.
const http = require("node:http");

const server = http.createServer(async (request, response) => {
  const [, ask, address] = request.url.split("/");
  try {
    const said =
      ask === "ask" ? await (await fetch(`http://${address}`)).text() : `Hello, ${request.socket.remoteAddress}!`;
    response.end(`${said}\n`);
  } catch (error) {
    response.writeHead(502).end(`${error.cause ?? error}\n`);
  }
});
server.listen(Number(process.env.PORT), "0.0.0.0");
