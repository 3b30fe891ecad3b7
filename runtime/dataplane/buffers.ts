/** Where packets lie in the data plane's memory. Each place has 512 bytes before and after it for headers and tags. */
import { FIRST_FREE_OFFSET, type PacketIo } from "../native/packet-io";

const MARGIN = 512;
const STRIDE = 0x14000;
/** Largest datagram or packet read at once. */
export const PACKET_ROOM = 65535;

const place = (index: number): number => FIRST_FREE_OFFSET + index * STRIDE + MARGIN;

export const FROM_SOCKET = place(0);
export const FROM_LINK = place(1);
/** Packets that gateways make. */
export const OWN = place(2);
/** Copies of what lies outside the memory, on its way to a system call. */
export const OUTGOING = place(3);

/** Where WireGuard devices make their own datagrams. */
export const DEVICE_SCRATCH = place(4);

/** 64 KiB pages for all of them, and the end of the last for the self-test of the AEAD. */
export const PAGES = Math.ceil((place(5) + 8192) / 65536);

/** The offset in the memory at which these bytes lie; copied to OUTGOING where they are elsewhere. */
export function inMemory(io: PacketIo, buf: Uint8Array, off: number, len: number): number {
  if (buf.buffer === io.bytes.buffer) return buf.byteOffset + off;
  io.bytes.set(buf.subarray(off, off + len), OUTGOING);
  return OUTGOING;
}
