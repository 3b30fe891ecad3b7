/** TCP packets with right checksums, for tests. */
import { addSum, checksum, pseudoSum, putU16, writeHeader } from "../inet";

export const FIN = 1;
export const SYN = 2;
export const PSH = 8;
export const ACK = 16;
export const ECE = 64;
export const CWR = 128;

export interface TcpFields {
  readonly family: 4 | 6;
  readonly sequence: number;
  readonly payload: Uint8Array;
  readonly flags?: number;
  /** The four bits before the flags: reserved ones, and AE as the lowest. */
  readonly reserved?: number;
  readonly acknowledgement?: number;
  readonly window?: number;
  /** A multiple of 4 bytes. */
  readonly options?: Uint8Array;
  readonly port?: number;
  readonly id?: number;
  readonly df?: boolean;
  readonly tos?: number;
  readonly ttl?: number;
}

const TIMESTAMPS = Uint8Array.from([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);

export function tcpPacket(fields: TcpFields): Uint8Array {
  const { family, payload, flags = ACK, options = TIMESTAMPS, ttl = 64, tos = 0 } = fields;
  const header = family === 4 ? 20 : 40;
  const tcp = 20 + options.length;
  const out = new Uint8Array(header + tcp + payload.length);
  const from = family === 4 ? [10, 0, 0, 3] : [0xfd, ...new Array(14).fill(0), 3];
  const to = family === 4 ? [10, 0, 0, 4] : [0xfd, ...new Array(14).fill(0), 4];
  writeHeader(out, 0, Uint8Array.from(from), Uint8Array.from(to), 6, tcp + payload.length);
  if (family === 4) {
    out[1] = tos;
    putU16(out, 4, (fields.id ?? 0) & 0xffff);
    out[6] = fields.df === false ? 0 : 0x40;
    out[8] = ttl;
  } else {
    out[1] = (tos & 15) << 4;
    out[7] = ttl;
  }
  putU16(out, header, fields.port ?? 40000);
  putU16(out, header + 2, 80);
  putU16(out, header + 4, fields.sequence >>> 16);
  putU16(out, header + 6, fields.sequence & 0xffff);
  putU16(out, header + 10, fields.acknowledgement ?? 7);
  out[header + 12] = ((tcp / 4) << 4) | (fields.reserved ?? 0);
  out[header + 13] = flags;
  putU16(out, header + 14, fields.window ?? 500);
  out.set(options, header + 20);
  out.set(payload, header + tcp);
  finish(out);
  return out;
}

/** Writes the checksums of a TCP packet anew. */
export function finish(packet: Uint8Array): void {
  const family = packet[0] >>> 4 === 4 ? 4 : 6;
  const header = family === 4 ? 20 : 40;
  if (family === 4) {
    putU16(packet, 10, 0);
    putU16(packet, 10, checksum(addSum(0, packet, 0, 20)));
  }
  putU16(packet, header + 16, 0);
  const length = packet.length - header;
  putU16(packet, header + 16, checksum(addSum(pseudoSum(packet, 0, family, 6, length), packet, header, length)));
}
