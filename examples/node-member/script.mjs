// On the machine of the daemon a program needs no key: with the network's name the daemon speaks for it. `node script.mjs`
import { dial, dispatcher } from "pulumi-warren/net";

// fetch, with names of the network.
const club = dispatcher("club");
console.log((await (await fetch("http://api.internal:8080", { dispatcher: club })).text()).trim());

// A connection is a stream of Node's.
const stream = await dial("club", "api:8080");
stream.end("HEAD / HTTP/1.0\r\n\r\n");
let answer = "";
for await (const part of stream) answer += part;
console.log(answer.split("\r\n")[0]);

await club.close();
