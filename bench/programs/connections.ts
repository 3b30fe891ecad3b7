/**
 * Measures connections to an echo server. Takes the address, the port and what to do, and prints one number:
 * `rate COUNT PARALLEL` connects, sends and gets back a byte and closes (connections a second), `trip COUNT` sends a byte to and fro
 * (median milliseconds), `hold COUNT` opens connections, prints how many there are, and keeps them until its input ends.
 */
import { once } from "node:events";
import * as net from "node:net";
import { median } from "../lib/figure";

const [address, port, what, count, parallel] = process.argv.slice(2);

async function open(): Promise<net.Socket> {
  const socket = net.connect({ host: address, port: Number(port), noDelay: true });
  await once(socket, "connect");
  socket.write("x");
  await once(socket, "data");
  return socket;
}

async function rate(): Promise<number> {
  let left = Number(count);
  const start = process.hrtime.bigint();
  const worker = async () => {
    while (left-- > 0) {
      const socket = await open();
      const closed = once(socket, "close");
      socket.end();
      socket.resume();
      await closed;
    }
  };
  await Promise.all(Array.from({ length: Number(parallel) }, worker));
  return Number(count) / (Number(process.hrtime.bigint() - start) / 1e9);
}

async function trip(): Promise<number> {
  const socket = await open();
  const times: number[] = [];
  for (let i = 0; i < Number(count); i++) {
    const start = process.hrtime.bigint();
    socket.write("x");
    await once(socket, "data");
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  return median(times);
}

async function main(): Promise<void> {
  if (what === "hold") {
    let held = 0;
    for (; held < Number(count); held++) await open();
    console.log(held);
    process.stdin.resume().on("end", () => process.exit(0));
    return;
  }
  console.log(await (what === "rate" ? rate() : trip()));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
