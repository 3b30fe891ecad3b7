// A member of the network inside this very process: no TUN device, no privileges, no daemon. `node member.mjs CONFIG-FILE`
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dial, dispatcher, join, listen } from "pulumi-warren/net";

const network = await join(readFileSync(process.argv[2], "utf8"));
const [address] = network.addresses;

// fetch, with names of the network.
const club = dispatcher(network);
const ask = async (url) => (await (await fetch(url, { dispatcher: club })).text()).trim();
console.log(await ask("http://api.internal:8080"));

// A server that only the network reaches: any HTTP server, given the connections.
const web = createServer((request, response) => response.end(`You found ${request.headers.host}.`));
const listener = await listen(network, 9000, (stream) => web.emit("connection", stream));
console.log(await ask(`http://api.internal:8080/ask/${address}:9000`));

// A connection is a stream of Node's.
const stream = await dial(network, "api.internal:8080");
stream.end("HEAD / HTTP/1.0\r\n\r\n");
let answer = "";
for await (const part of stream) answer += part;
console.log(answer.split("\r\n")[0]);

listener.close();
await club.close();
await network.close();
