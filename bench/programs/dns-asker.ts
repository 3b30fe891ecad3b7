/**
 * Asks for names at random, so many at once, and checks each answer: `dns-asker SERVER NAMES SECONDS`. Prints what was answered
 * rightly, as JSON.
 */
import * as dgram from "node:dgram";
import * as dnsPacket from "dns-packet";
import { addressOf, nameOf } from "../lib/dns-zone";

const AT_ONCE = 128;
const HEADER = 12;

function main(server: string, names: number, seconds: number): void {
  const queries = Array.from({ length: names }, (_, i) =>
    dnsPacket.encode({
      type: "query",
      id: 0,
      flags: dnsPacket.RECURSION_DESIRED,
      questions: [{ name: `${nameOf(i)}.internal`, type: "A" }],
      additionals: [
        {
          type: "OPT",
          name: ".",
          udpPayloadSize: 1232,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ] as unknown as dnsPacket.Answer[],
    }),
  );
  const expected = Array.from({ length: names }, (_, i) => Buffer.from(addressOf(i).split(".").map(Number)));
  /** By id: the name that was asked for; -1: none. */
  const asked = new Int32Array(0x10000).fill(-1);
  const socket = dgram.createSocket({ type: "udp4", recvBufferSize: 1 << 21, sendBufferSize: 1 << 21 });
  let id = 0;
  let right = 0;
  let wrong = 0;
  let done = false;
  const ask = (): void => {
    const name = Math.floor(Math.random() * names);
    id = (id + 1) & 0xffff;
    asked[id] = name;
    // A datagram under way must not change: the id is written into a copy.
    const query = Buffer.from(queries[name]!);
    query.writeUInt16BE(id, 0);
    socket.send(query);
  };
  socket.on("message", (reply) => {
    const to = reply.readUInt16BE(0);
    const name = asked[to]!;
    asked[to] = -1;
    if (name < 0) return;
    const question = queries[name]!.length - 11;
    // NOERROR, one answer, and its data last before the OPT record.
    const address = reply.subarray(question + 12, question + 16);
    if (
      (reply[3]! & 15) === 0 &&
      reply.readUInt16BE(6) === 1 &&
      reply.length > HEADER &&
      address.equals(expected[name]!)
    )
      right++;
    else wrong++;
    if (!done) ask();
  });
  socket.connect(53, server, () => {
    for (let i = 0; i < AT_ONCE; i++) ask();
    let last = 0;
    // What is lost is asked for again, so that as many are always under way.
    const refill = setInterval(() => {
      if (right + wrong === last) for (let i = 0; i < AT_ONCE; i++) ask();
      last = right + wrong;
    }, 200);
    setTimeout(() => {
      done = true;
      clearInterval(refill);
      socket.close();
      console.log(JSON.stringify({ right, wrong }));
    }, seconds * 1000);
  });
}

const [server, names, seconds] = process.argv.slice(2) as [string, string, string];
main(server, Number(names), Number(seconds));
