/**
 * UDP as a program with large batches does it: UDP_SEGMENT out, UDP_GRO in. Takes `receive`, a family and the number of datagrams that
 * come; or `send`, a family, an address, a port, a number of bursts, of datagrams in each and of bytes in a datagram. Each datagram begins
 * with its number.
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
/** Milliseconds of silence after which no more is waited for. */
const PATIENCE = 5_000;

const [role, family, ...rest] = process.argv.slice(2);
const io = new PacketIo(3);
const any = new Uint8Array(family === "4" ? 4 : 16);

/** What a datagram's bytes are behind its number. */
const filler = (number: number): number => number % 251;

function send(address: string, port: number, bursts: number, count: number, size: number): void {
  const fd = io.openUdp(any, 0);
  const to = encodeSockaddr(Uint8Array.from(ipaddr.parse(address).toByteArray()), port);
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

function receive(expected: number): void {
  const fd = io.openUdp(any, 0);
  console.log(`port ${io.localPort(fd)}`);
  const result = { numbers: [] as number[], lengths: [] as number[], reads: 0, spoilt: 0 };
  io.setPoll(0, fd, POLLIN);
  while (result.numbers.length < expected && io.poll(1, PATIENCE) > 0) {
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

if (role === "receive") receive(Number(rest[0]));
else {
  const [port, bursts, count, size] = rest.slice(1).map(Number);
  send(rest[0], port, bursts, count, size);
}
