// Says over HTTP whether it can connect to the database.
const http = require("node:http");
const net = require("node:net");

const server = http.createServer((_request, response) => {
  const socket = net.connect(5432, process.env.DATABASE);
  socket.setTimeout(2000, () => socket.destroy(new Error("no answer within 2 s")));
  socket.once("connect", () => {
    response.end(`connected to ${process.env.DATABASE} (${socket.remoteAddress})\n`);
    socket.destroy();
  });
  socket.once("error", (error) => {
    response.statusCode = 502;
    response.end(`${error.message}\n`);
  });
});
server.listen(Number(process.env.PORT));
