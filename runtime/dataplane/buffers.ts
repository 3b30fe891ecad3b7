/** Where packets lie in the data plane's memory. Each place has 512 bytes before and after it for headers and tags. */
import { FIRST_FREE_OFFSET } from "../native/native-memory";

const MARGIN = 512;
const STRIDE = 0x11000;
/** Largest datagram, or datagrams, or packet read at once. */
export const PACKET_ROOM = 65535;

const place = (index: number): number => FIRST_FREE_OFFSET + index * STRIDE + MARGIN;

export const FROM_LINK = place(0);
/** Packets that gateways make. */
export const OWN = place(1);
/** Copies of what lies outside the memory, and pieces of big packets, on their way to a system call. */
export const OUTGOING = place(2);

/** Where WireGuard devices make their own datagrams. */
export const DEVICE_SCRATCH = place(3);

/** Receptions that are kept until the end of a round, so that their packets can be written together. */
export const RECEPTIONS = 8;
export const reception = (index: number): number => place(4 + index);
/** The same room for many small receptions. */
export const RECEPTIONS_START = reception(0);
export const RECEPTION_BYTES = RECEPTIONS * STRIDE - MARGIN;

/** Datagrams that wait to be sent together: room for a full call, and behind it for the longest packet. */
export const OUTBOX = place(4 + RECEPTIONS);
export const OUTBOX_END = place(7 + RECEPTIONS) - 2 * MARGIN;

/** What users of the memory reserve at its end, such as the AEAD. */
const RESERVED = 0x40000;
/** 64 KiB pages for all of them. */
export const PAGES = Math.ceil((place(7 + RECEPTIONS) + RESERVED) / 65536);

/** Where in the memory a byte of `buf` lies; -1: elsewhere. To ask a Uint8Array for its buffer costs as much as a call of C. */
export function offsetIn(memory: Uint8Array, buf: Uint8Array, off: number): number {
  if (buf === memory) return off;
  return buf.buffer === memory.buffer ? buf.byteOffset + off : -1;
}

/** The offset in the memory at which these bytes lie; copied to OUTGOING where they are elsewhere. */
export function inMemory({ bytes }: { readonly bytes: Uint8Array }, buf: Uint8Array, off: number, len: number): number {
  const at = offsetIn(bytes, buf, off);
  if (at >= 0) return at;
  bytes.set(buf.subarray(off, off + len), OUTGOING);
  return OUTGOING;
}
