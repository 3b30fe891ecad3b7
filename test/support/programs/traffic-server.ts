/**
 * What tests talk to through a tunnel, on one port of both families: HTTP (`GET /bytes/N` answers N fixed bytes, `PUT /` answers the
 * SHA-256 of the body, anything else the caller's address) and a UDP echo. Takes the port; prints `ready`.
 */
import { createHash } from "node:crypto";
import * as dgram from "node:dgram";
import * as http from "node:http";
import { fixedBytes } from "./fixed-bytes";

const port = Number(process.argv[2]);

const server = http.createServer((request, response) => {
  const size = /^\/bytes\/(\d+)$/.exec(request.url ?? "")?.[1];
  if (size !== undefined) {
    response.end(fixedBytes(Number(size)));
  } else if (request.method === "PUT") {
    const hash = createHash("sha256");
    request.on("data", (chunk) => hash.update(chunk));
    request.on("end", () => response.end(hash.digest("hex")));
  } else response.end(request.socket.remoteAddress);
});

const echo = dgram.createSocket({ type: "udp6" });
echo.on("message", (message, from) => echo.send(message, from.port, from.address));

echo.bind(port, "::", () => server.listen(port, "::", () => console.log("ready")));
