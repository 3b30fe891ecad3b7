/**
 * Sends datagrams to an address and reports what came back. Takes a ProbeOptions as JSON; prints a ProbeResult as JSON and ends.
 */
import * as dgram from "node:dgram";

export interface ProbeOptions {
  readonly address: string;
  readonly port: number;
  /** hex. */
  readonly datagrams: readonly string[];
  /** Milliseconds to listen on after the last one was sent; ends earlier when as many came back as were sent. */
  readonly wait: number;
}

export interface ProbeResult {
  /** hex. */
  readonly replies: readonly string[];
}

const options: ProbeOptions = JSON.parse(process.argv[2]);
const socket = dgram.createSocket({ type: options.address.includes(":") ? "udp6" : "udp4" });
const replies: string[] = [];

function finish(): void {
  const result: ProbeResult = { replies };
  console.log(JSON.stringify(result));
  socket.close();
  clearTimeout(timer);
}

const timer = setTimeout(finish, options.wait + 2 * options.datagrams.length);
socket.on("message", (message) => {
  if (replies.push(message.toString("hex")) === options.datagrams.length) finish();
});
socket.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});

/** Two milliseconds apart, so that no socket buffer on the way is the thing under test. */
function send(i: number): void {
  if (i === options.datagrams.length) return;
  socket.send(Buffer.from(options.datagrams[i], "hex"), options.port, options.address, (error) => {
    if (error) replies.push(`error ${error.message}`);
    else setTimeout(send, 2, i + 1);
  });
}
send(0);
