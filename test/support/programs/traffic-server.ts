/** What tests talk to through a tunnel, on one port of both families: HTTP and a UDP echo. Takes the port; prints `ready`. */
import * as dgram from "node:dgram";
import * as http from "node:http";
import { answerRequest } from "./answer-request";

const port = Number(process.argv[2]);

const server = http.createServer(answerRequest);

const echo = dgram.createSocket({ type: "udp6" });
echo.on("message", (message, from) => echo.send(message, from.port, from.address));

echo.bind(port, "::", () => server.listen(port, "::", () => console.log("ready")));
