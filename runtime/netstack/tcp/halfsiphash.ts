/** HalfSipHash-2-4 (SipHash by Aumasson and Bernstein, on 32-bit words): a keyed hash whose collisions an outsider cannot choose. */
export class HalfSipHash {
  #v0 = 0;
  #v1 = 0;
  #v2 = 0;
  #v3 = 0;
  #words = 0;
  readonly #k0: number;
  readonly #k1: number;

  /** @param key 8 unpredictable bytes */
  constructor(key: Uint8Array) {
    this.#k0 = key[0] | (key[1] << 8) | (key[2] << 16) | (key[3] << 24);
    this.#k1 = key[4] | (key[5] << 8) | (key[6] << 16) | (key[7] << 24);
  }

  begin(): void {
    this.#v0 = this.#k0;
    this.#v1 = this.#k1;
    this.#v2 = 0x6c796765 ^ this.#k0;
    this.#v3 = 0x74656462 ^ this.#k1;
    this.#words = 0;
  }

  add(word: number): void {
    this.#v3 ^= word;
    this.#round();
    this.#round();
    this.#v0 ^= word;
    this.#words++;
  }

  /** @returns 32 bits, signed */
  finish(): number {
    const length = (this.#words * 4) << 24;
    this.#v3 ^= length;
    this.#round();
    this.#round();
    this.#v0 ^= length;
    this.#v2 ^= 0xff;
    this.#round();
    this.#round();
    this.#round();
    this.#round();
    return this.#v1 ^ this.#v3;
  }

  #round(): void {
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    v0 = (v0 + v1) | 0;
    v1 = (v1 << 5) | (v1 >>> 27);
    v1 ^= v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = (v3 << 8) | (v3 >>> 24);
    v3 ^= v2;
    v0 = (v0 + v3) | 0;
    v3 = (v3 << 7) | (v3 >>> 25);
    v3 ^= v0;
    v2 = (v2 + v1) | 0;
    v1 = (v1 << 13) | (v1 >>> 19);
    v1 ^= v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    this.#v0 = v0;
    this.#v1 = v1;
    this.#v2 = v2;
    this.#v3 = v3;
  }
}
