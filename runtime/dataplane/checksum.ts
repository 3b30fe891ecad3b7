/** The two operations on packet bytes that are worth a kernel, and their plain form. */
import { addSum } from "./inet";

export interface PacketKernels {
  /** Ones' complement sum of `len` bytes as big-endian words, folded to 16 bits, not complemented. */
  sum(at: number, len: number): number;
  copy(to: number, from: number, len: number): void;
}

export function plainKernels(bytes: Uint8Array): PacketKernels {
  return {
    sum: (at, len) => fold(addSum(0, bytes, at, len)),
    copy: (to, from, len) => {
      bytes.copyWithin(to, from, from + len);
    },
  };
}

/** To 16 bits; for sums below 2^32. */
export function fold(sum: number): number {
  const once = (sum >>> 16) + (sum & 0xffff);
  return (once >>> 16) + (once & 0xffff);
}

/** The sum without one of its words. */
export function without(sum: number, word: number): number {
  return sum + (~word & 0xffff);
}
