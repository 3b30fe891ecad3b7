/**
 * UDP as a program with large batches does it: UDP_SEGMENT out, UDP_GRO in. Takes a family and either nothing, then it receives, or an
 * address and port, a number of bursts, of datagrams in each and of bytes in a datagram, then it sends. Each datagram begins with its number.
 */

import ipaddr from "ipaddr.js";
import { FIRST_FREE_OFFSET } from "../../../runtime/native/native-memory";
import { encodeSockaddr, PacketIo, POLLIN } from "../../../runtime/native/packet-io";

export interface Received {
  readonly numbers: readonly number[];
  /** Lengths that came, each once. */
  readonly lengths: readonly number[];
  /** How often the kernel gave datagrams, one or several. */
  readonly reads: number;
  /** Datagrams that were not as they were sent. */
  readonly spoilt: number;
}

const AT = FIRST_FREE_OFFSET;
/** Milliseconds of silence that end it; and before the first datagram. */
const SILENCE = 500;
const PATIENCE = 10_000;

const [family, address, port, ...numbers] = process.argv.slice(2);
const [bursts = 0, count = 0, size = 0] = numbers.map(Number);
const io = new PacketIo(3);
const any = new Uint8Array(family === "4" ? 4 : 16);

/** What a datagram's bytes are behind its number. */
const filler = (number: number): number => number % 251;

function send(): void {
  const fd = io.openUdp(any, 0);
  const to = encodeSockaddr(Uint8Array.from(ipaddr.parse(address).toByteArray()), Number(port));
  for (let burst = 0; burst < bursts; burst++) {
    for (let i = 0; i < count; i++) {
      const number = burst * count + i;
      io.bytes.fill(filler(number), AT + i * size, AT + (i + 1) * size);
      new DataView(io.bytes.buffer, io.bytes.byteOffset + AT + i * size).setUint32(0, number);
    }
    const sent = io.send(fd, AT, count * size, to, size);
    if (sent !== count * size) throw new Error(`burst ${burst}: ${sent}`);
    // Neither the queue of a device nor a socket's memory is what is tried here.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
}

function receive(): void {
  const fd = io.openUdp(any, 0);
  console.log(`port ${io.localPort(fd)}`);
  const result = { numbers: [] as number[], lengths: [] as number[], reads: 0, spoilt: 0 };
  io.setPoll(0, fd, POLLIN);
  while (io.poll(1, result.reads === 0 ? PATIENCE : SILENCE) > 0) {
    const got = io.receive(fd, AT, 65536);
    if (got < 0) throw new Error(`receiving: ${got}`);
    result.reads++;
    for (let at = AT; at < AT + got; at += io.segment) {
      const bytes = io.bytes.subarray(at, Math.min(at + io.segment, AT + got));
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      result.numbers.push(number);
      if (!result.lengths.includes(bytes.length)) result.lengths.push(bytes.length);
      if (!bytes.subarray(4).every((byte) => byte === filler(number))) result.spoilt++;
    }
  }
  console.log(JSON.stringify(result satisfies Received));
}

if (address === undefined) receive();
else send();
