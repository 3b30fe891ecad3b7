/** Exact IPv4 and IPv6 addresses to values: one probe of a hash table over the packet's bytes, nothing allocated. */
export class AddressTable<T> {
  private readonly mask: number;
  /** Five words a slot: family (0: empty) and the address. */
  private readonly keys: Uint32Array;
  private readonly values: (T | undefined)[];

  /** @param entries addresses of 4 or 16 bytes; a later entry of the same address wins. */
  constructor(entries: readonly (readonly [Uint8Array, T])[]) {
    let size = 4;
    while (size < entries.length * 2 + 1) size *= 2;
    this.mask = size - 1;
    this.keys = new Uint32Array(size * 5);
    this.values = new Array(size).fill(undefined);
    for (const [address, value] of entries) {
      const slot = this.find(address, 0, address.length === 4 ? 4 : 6);
      const at = slot * 5;
      this.keys[at] = address.length === 4 ? 4 : 6;
      for (let i = 0; i < address.length >> 2; i++) this.keys[at + 1 + i] = word(address, i * 4);
      this.values[slot] = value;
    }
  }

  /** The value of the address of this family at `buf[off]`. */
  get(buf: Uint8Array, off: number, family: 4 | 6): T | undefined {
    return this.values[this.find(buf, off, family)];
  }

  /** The slot that holds this address, or the empty one where it belongs. */
  private find(buf: Uint8Array, off: number, family: 4 | 6): number {
    const w0 = word(buf, off);
    const w1 = family === 6 ? word(buf, off + 4) : 0;
    const w2 = family === 6 ? word(buf, off + 8) : 0;
    const w3 = family === 6 ? word(buf, off + 12) : 0;
    let hash = Math.imul(
      w0 ^ Math.imul(w1, 0x9e3779b1) ^ Math.imul(w2, 0x85ebca6b) ^ Math.imul(w3, 0xc2b2ae35),
      0x27d4eb2f,
    );
    hash ^= hash >>> 15;
    for (let slot = hash & this.mask; ; slot = (slot + 1) & this.mask) {
      const at = slot * 5;
      const have = this.keys[at];
      if (
        have === 0 ||
        (have === family &&
          this.keys[at + 1] === w0 &&
          this.keys[at + 2] === w1 &&
          this.keys[at + 3] === w2 &&
          this.keys[at + 4] === w3)
      )
        return slot;
    }
  }
}

function word(buf: Uint8Array, off: number): number {
  return ((buf[off] << 24) | (buf[off + 1] << 16) | (buf[off + 2] << 8) | buf[off + 3]) >>> 0;
}
