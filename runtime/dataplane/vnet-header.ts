/**
 * struct virtio_net_hdr (Virtio 1.2 section 5.1.6): what a kernel leaves to be done for a packet that it hands over, or what we
 * leave to it. Ten bytes before the packet, of the machine's byte order (little-endian).
 */
import { VNET_HEADER_BYTES } from "../native/packet-io";

export const NEEDS_CHECKSUM = 1;
export const GSO_NONE = 0;
export const GSO_TCP4 = 1;
export const GSO_TCP6 = 4;
/** UDP of equal datagrams, as sent with UDP_SEGMENT. */
export const GSO_UDP = 5;
/** A flag of the kind: the first segment carries CWR. */
export const GSO_ECN = 0x80;

/** One header's fields, read again and again into the same object. */
export class VnetHeader {
  /** The checksum field holds the sum of the pseudo header alone. */
  needsChecksum = false;
  /** GSO_…, without GSO_ECN. */
  kind = GSO_NONE;
  /** Payload bytes of each segment but the last. */
  segment = 0;
  /** Where the bytes begin that the checksum covers, from the start of the packet. */
  checksumStart = 0;
  /** Where the checksum lies, from `checksumStart`. */
  checksumOffset = 0;

  read(buf: Uint8Array, at: number): void {
    this.needsChecksum = (buf[at] & NEEDS_CHECKSUM) !== 0;
    this.kind = buf[at + 1] & ~GSO_ECN;
    this.segment = le16(buf, at + 4);
    this.checksumStart = le16(buf, at + 6);
    this.checksumOffset = le16(buf, at + 8);
  }

  /** Nothing is left to do. */
  get complete(): boolean {
    return !this.needsChecksum && this.kind === GSO_NONE;
  }
}

/** Of a packet whose segments the reader makes, or takes whole. */
export function writeSegmentedHeader(
  buf: Uint8Array,
  at: number,
  kind: number,
  headerBytes: number,
  segment: number,
  checksumStart: number,
  checksumOffset: number,
): void {
  buf[at] = NEEDS_CHECKSUM;
  buf[at + 1] = kind;
  putLe16(buf, at + 2, headerBytes);
  putLe16(buf, at + 4, segment);
  putLe16(buf, at + 6, checksumStart);
  putLe16(buf, at + 8, checksumOffset);
}

/** Of a packet that is complete. */
export function clearHeader(buf: Uint8Array, at: number): void {
  for (let i = at; i < at + VNET_HEADER_BYTES; i++) buf[i] = 0;
}

function le16(buf: Uint8Array, at: number): number {
  return buf[at] | (buf[at + 1] << 8);
}

function putLe16(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value & 0xff;
  buf[at + 1] = value >>> 8;
}
