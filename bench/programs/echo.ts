/** A TCP server that sends back what it gets. Takes the port; prints `ready`. */
import * as net from "node:net";

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on("error", () => undefined);
  socket.pipe(socket);
});
server.listen(Number(process.argv[2]), "::", () => console.log("ready"));
