/** One stack with a clock that stands still, whose packets are looked at one by one; and packets by hand. */

import { seededRandom } from "../../../test/support/programs/random";
import {
  addSum,
  checksum,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_UDP,
  pseudoSum,
  putU16,
  writeHeader,
} from "../../dataplane/inet";
import { addressBytes } from "../address";
import type { StackOptions } from "../options";
import { Stack } from "../stack";

export const HERE = { 4: "10.0.0.2", 6: "fd00::2" } as const;
export const THERE = { 4: "10.0.0.1", 6: "fd00::1" } as const;

export class Lab {
  now = 0;
  readonly sent: Uint8Array[] = [];
  /** What `output` answers. */
  room = true;
  readonly stack: Stack;

  constructor(options: Partial<StackOptions> = {}) {
    const random = seededRandom(3);
    this.stack = new Stack({
      addresses: [HERE[4], HERE[6]],
      mtu: 1500,
      output: (buf, off, len) => {
        if (this.room) this.sent.push(buf.slice(off, off + len));
        return this.room;
      },
      now: () => this.now,
      random: (bytes) => Uint8Array.from({ length: bytes }, () => random() * 256),
      ...options,
    });
  }

  /** Gives the stack a packet. @returns what it sends at once */
  input(packet: Uint8Array): Uint8Array[] {
    const before = this.sent.length;
    this.stack.input(packet, 0, packet.length, 0);
    this.stack.roundEnd();
    return this.sent.slice(before);
  }

  advance(milliseconds: number): Uint8Array[] {
    const before = this.sent.length;
    this.now += milliseconds;
    this.stack.tick();
    return this.sent.slice(before);
  }

  /** The counters of dropped packets that are not 0. */
  get drops(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.stack.counters.drops).filter(([, count]) => count > 0));
  }
}

export interface PacketFields {
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly payload: Uint8Array;
  readonly from?: string;
  readonly to?: string;
  /** IPv4. */
  readonly id?: number;
  readonly fragment?: number;
}

export function ipPacket({ family, protocol, payload, from, to, id, fragment }: PacketFields): Uint8Array {
  const header = family === 4 ? 20 : 40;
  const out = new Uint8Array(header + payload.length);
  const source = addressBytes(from ?? THERE[family], "from");
  const destination = addressBytes(to ?? HERE[family], "to");
  writeHeader(out, 0, source, destination, protocol, payload.length, id, fragment);
  out.set(payload, header);
  return out;
}

export function udpPacket(
  family: 4 | 6,
  ports: readonly [number, number],
  data: Uint8Array,
  addresses: { from?: string; to?: string } = {},
): Uint8Array {
  const payload = new Uint8Array(8 + data.length);
  putU16(payload, 0, ports[0]);
  putU16(payload, 2, ports[1]);
  putU16(payload, 4, payload.length);
  payload.set(data, 8);
  return withChecksum(ipPacket({ family, protocol: PROTO_UDP, payload, ...addresses }), 6);
}

/** @param body after type, code and checksum */
export function icmpPacket(
  family: 4 | 6,
  type: number,
  code: number,
  body: Uint8Array,
  addresses: { from?: string; to?: string } = {},
): Uint8Array {
  const payload = new Uint8Array(4 + body.length);
  payload[0] = type;
  payload[1] = code;
  payload.set(body, 4);
  return withChecksum(
    ipPacket({ family, protocol: family === 4 ? PROTO_ICMP : PROTO_ICMPV6, payload, ...addresses }),
    2,
  );
}

/** Writes the checksum of the transport header at this place in it. */
export function withChecksum(packet: Uint8Array, at: number): Uint8Array {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const header = family === 4 ? 20 : 40;
  const protocol = packet[family === 4 ? 9 : 6];
  const length = packet.length - header;
  const pseudo = protocol === PROTO_ICMP ? 0 : pseudoSum(packet, 0, family, protocol, length);
  putU16(packet, header + at, 0);
  putU16(packet, header + at, checksum(addSum(pseudo, packet, header, length)));
  return packet;
}

/** The fragments of an IP packet, each with `share` bytes. */
export function fragmentsOf(packet: Uint8Array, share: number, id = 77): Uint8Array[] {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const header = family === 4 ? 20 : 40;
  const payload = packet.subarray(header);
  const out: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += share) {
    const part = payload.subarray(at, at + share);
    const more = at + share < payload.length;
    out.push(fragment(packet, at, part, more, id));
  }
  return out;
}

/** One fragment of a datagram with the headers of `packet`. */
export function fragment(packet: Uint8Array, at: number, part: Uint8Array, more: boolean, id = 77): Uint8Array {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const header = family === 4 ? 20 : 40;
  const protocol = packet[family === 4 ? 9 : 6];
  const source = packet.slice(family === 4 ? 12 : 8, family === 4 ? 16 : 24);
  const destination = packet.slice(family === 4 ? 16 : 24, header);
  const size = family === 4 ? 0 : 8;
  const out = new Uint8Array(header + size + part.length);
  const field = (at >>> 3) | (more ? 0x2000 : 0);
  writeHeader(out, 0, source, destination, family === 4 ? protocol : 44, size + part.length, id, field);
  if (family === 6) {
    out[40] = protocol;
    putU16(out, 42, at | (more ? 1 : 0));
    putU16(out, 46, id);
  }
  out.set(part, header + size);
  return out;
}
