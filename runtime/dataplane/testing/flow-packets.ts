/** Packets of flows between any two addresses and ports, with right checksums, for tests of policy and service addresses. */
import { addSum, checksum, headerLength, pseudoSum, putU16, u16, writeHeader } from "../inet";
import { ip } from "./switch-world";

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const ACK = 16;

/** `10.0.0.3` or, with a port or echo identifier, `10.0.0.3:80`; `fd00::0003` and `fd00::0003#80`. */
export type End = string;

function endOf(end: End): { address: Uint8Array; port: number } {
  const [, text, port] = /^([0-9.]+|[0-9a-f:]+)(?:[:#](\d+))?$/.exec(end.includes("::") ? end : end.replace(":", "#"))!;
  return { address: ip(text), port: Number(port ?? 0) };
}

function build(from: End, to: End, protocol: number, payload: Uint8Array): Uint8Array {
  const [a, b] = [endOf(from), endOf(to)];
  const out = new Uint8Array(40 + payload.length);
  const header = writeHeader(out, 0, a.address, b.address, protocol, payload.length);
  out.set(payload, header);
  return out.slice(0, header + payload.length);
}

export function tcp(from: End, to: End, flags: number, data = new Uint8Array(0), sequence = 1000): Uint8Array {
  const segment = new Uint8Array(20 + data.length);
  putU16(segment, 0, endOf(from).port);
  putU16(segment, 2, endOf(to).port);
  putU16(segment, 4, sequence >>> 16);
  putU16(segment, 6, sequence & 0xffff);
  putU16(segment, 10, 77);
  segment[12] = 0x50;
  segment[13] = flags;
  segment.set(data, 20);
  return complete(build(from, to, 6, segment));
}

export function datagram(from: End, to: End, data = new Uint8Array(4)): Uint8Array {
  const out = new Uint8Array(8 + data.length);
  putU16(out, 0, endOf(from).port);
  putU16(out, 2, endOf(to).port);
  putU16(out, 4, out.length);
  out.set(data, 8);
  return complete(build(from, to, 17, out));
}

/** The identifier is the port of `from`, or of `to`. */
export function echo(from: End, to: End, kind: "request" | "reply" = "request"): Uint8Array {
  const v6 = from.includes("::");
  const out = new Uint8Array(16);
  out[0] = v6 ? (kind === "request" ? 128 : 129) : kind === "request" ? 8 : 0;
  putU16(out, 4, endOf(from).port || endOf(to).port);
  return complete(build(from, to, v6 ? 58 : 1, out));
}

/** Destination unreachable, about the packet or its first `quoted` bytes. */
export function unreachable(from: End, about: Uint8Array, quoted = about.length, code?: number): Uint8Array {
  const v6 = about[0] >>> 4 === 6;
  const out = new Uint8Array(8 + Math.min(quoted, about.length));
  out[0] = v6 ? 1 : 3;
  out[1] = code ?? (v6 ? 4 : 3);
  out.set(about.subarray(0, quoted), 8);
  const source = v6 ? about.subarray(8, 24) : about.subarray(12, 16);
  const built = build(from, from, v6 ? 58 : 1, out);
  built.set(source, v6 ? 24 : 16);
  return complete(built);
}

/** Writes all checksums of a packet, fragments' transport checksums apart. */
export function complete(packet: Uint8Array): Uint8Array {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const header = family === 4 ? headerLength(packet, 0, 4) : 40;
  if (family === 4) {
    putU16(packet, 10, 0);
    putU16(packet, 10, checksum(addSum(0, packet, 0, header)));
  }
  const at = checksumOffset(packet);
  if (at < 0) return packet;
  putU16(packet, at, 0);
  const sum = transportSum(packet);
  putU16(packet, at, sum === 0 && protocolOf(packet) === 17 ? 0xffff : sum);
  return packet;
}

/** What is wrong with the checksums of a packet; undefined: nothing. */
export function fault(packet: Uint8Array): string | undefined {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  if (family === 4 && checksum(addSum(0, packet, 0, headerLength(packet, 0, 4))) !== 0) return "header checksum";
  const at = checksumOffset(packet);
  if (at < 0 || (protocolOf(packet) === 17 && u16(packet, at) === 0)) return undefined;
  return transportSum(packet) === 0 ? undefined : "transport checksum";
}

const protocolOf = (packet: Uint8Array): number => packet[packet[0] >>> 4 === 4 ? 9 : 6];

function checksumOffset(packet: Uint8Array): number {
  const header = packet[0] >>> 4 === 4 ? headerLength(packet, 0, 4) : 40;
  const field = { 1: 2, 6: 16, 17: 6, 58: 2 }[protocolOf(packet)];
  return field === undefined ? -1 : header + field;
}

function transportSum(packet: Uint8Array): number {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const header = family === 4 ? headerLength(packet, 0, 4) : 40;
  const protocol = protocolOf(packet);
  const length = packet.length - header;
  const start = protocol === 1 ? 0 : pseudoSum(packet, 0, family, protocol, length);
  return checksum(addSum(start, packet, header, length));
}
