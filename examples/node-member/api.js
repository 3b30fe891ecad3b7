// An ordinary program: HTTP, and datagrams on the same port. `/ask/ADDRESS` asks a member back.
const dgram = require("node:dgram");
const http = require("node:http");

const port = Number(process.env.PORT);

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
server.listen(port, "0.0.0.0");

const datagrams = dgram.createSocket("udp4");
datagrams.on("message", (message, from) => datagrams.send(`${message}, ${from.address}!`, from.port, from.address));
datagrams.bind(port, "0.0.0.0");
