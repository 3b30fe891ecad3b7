/**
 * ChaCha20-Poly1305 (RFC 8439) with WireGuard's nonces and no associated data, in AssemblyScript with 128-bit SIMD
 * (tools/kernels.mjs compiles it to chacha20poly1305.wasm). It runs on the memory in which the packets lie; `at` and the like are
 * offsets into it, `w` is a work area of WORK bytes whose first 32 are the key. Callers check every range.
 */

const KEY: usize = 0;
/** Three blocks of the key stream. */
const STREAM: usize = 64;
/** The last block of a text, padded, and the lengths. */
const TAIL: usize = 256;
const TAG: usize = 288;
/** Poly1305's h and r, five limbs of 26 bits each. */
const HASH: usize = 320;
const CLAMPED: usize = 384;

const BLOCK: usize = 64;
const STRIDE: usize = 3 * BLOCK;

function add(x: v128, y: v128): v128 {
  return i32x4.add(x, y);
}

function rotate16(x: v128, y: v128): v128 {
  const v = v128.xor(x, y);
  return i8x16.shuffle(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
}

function rotate12(x: v128, y: v128): v128 {
  const v = v128.xor(x, y);
  return v128.or(i32x4.shl(v, 12), i32x4.shr_u(v, 20));
}

function rotate8(x: v128, y: v128): v128 {
  const v = v128.xor(x, y);
  return i8x16.shuffle(v, v, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14);
}

function rotate7(x: v128, y: v128): v128 {
  const v = v128.xor(x, y);
  return v128.or(i32x4.shl(v, 7), i32x4.shr_u(v, 25));
}

function lanes1(v: v128): v128 {
  return i32x4.shuffle(v, v, 1, 2, 3, 0);
}

function lanes2(v: v128): v128 {
  return i32x4.shuffle(v, v, 2, 3, 0, 1);
}

function lanes3(v: v128): v128 {
  return i32x4.shuffle(v, v, 3, 0, 1, 2);
}

function counters(block: u32, lo: u32, hi: u32): v128 {
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(0), 0, block), 2, lo), 3, hi);
}

/**
 * Three blocks of the key stream from `block` on. Each variable is a row of a block's matrix, so that a quarter round of RFC 8439
 * section 2.1 does four columns at once; three blocks side by side keep the processor busy.
 */
function stream(w: usize, block: u32, lo: u32, hi: u32): void {
  const a = i32x4(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
  const b = v128.load(w + KEY);
  const c = v128.load(w + KEY, 16);
  const n0 = counters(block, lo, hi);
  const n1 = counters(block + 1, lo, hi);
  const n2 = counters(block + 2, lo, hi);
  let a0 = a,
    b0 = b,
    c0 = c,
    d0 = n0;
  let a1 = a,
    b1 = b,
    c1 = c,
    d1 = n1;
  let a2 = a,
    b2 = b,
    c2 = c,
    d2 = n2;
  for (let i = 0; i < 20; i++) {
    a0 = add(a0, b0);
    a1 = add(a1, b1);
    a2 = add(a2, b2);
    d0 = rotate16(d0, a0);
    d1 = rotate16(d1, a1);
    d2 = rotate16(d2, a2);
    c0 = add(c0, d0);
    c1 = add(c1, d1);
    c2 = add(c2, d2);
    b0 = rotate12(b0, c0);
    b1 = rotate12(b1, c1);
    b2 = rotate12(b2, c2);
    a0 = add(a0, b0);
    a1 = add(a1, b1);
    a2 = add(a2, b2);
    d0 = rotate8(d0, a0);
    d1 = rotate8(d1, a1);
    d2 = rotate8(d2, a2);
    c0 = add(c0, d0);
    c1 = add(c1, d1);
    c2 = add(c2, d2);
    b0 = rotate7(b0, c0);
    b1 = rotate7(b1, c1);
    b2 = rotate7(b2, c2);
    // Diagonals become columns after an even round and return after an odd one.
    c0 = lanes2(c0);
    c1 = lanes2(c1);
    c2 = lanes2(c2);
    if (i & 1) {
      b0 = lanes3(b0);
      b1 = lanes3(b1);
      b2 = lanes3(b2);
      d0 = lanes1(d0);
      d1 = lanes1(d1);
      d2 = lanes1(d2);
    } else {
      b0 = lanes1(b0);
      b1 = lanes1(b1);
      b2 = lanes1(b2);
      d0 = lanes3(d0);
      d1 = lanes3(d1);
      d2 = lanes3(d2);
    }
  }
  const out = w + STREAM;
  v128.store(out, add(a0, a));
  v128.store(out, add(b0, b), 16);
  v128.store(out, add(c0, c), 32);
  v128.store(out, add(d0, n0), 48);
  v128.store(out, add(a1, a), 64);
  v128.store(out, add(b1, b), 80);
  v128.store(out, add(c1, c), 96);
  v128.store(out, add(d1, n1), 112);
  v128.store(out, add(a2, a), 128);
  v128.store(out, add(b2, b), 144);
  v128.store(out, add(c2, c), 160);
  v128.store(out, add(d2, n2), 176);
}

/** Mixes `len` bytes at `at` with the key stream at `from`. */
function mix(at: usize, from: usize, len: usize): void {
  const whole = len & ~15;
  let i: usize = 0;
  for (; i < whole; i += 16) v128.store(at + i, v128.xor(v128.load(at + i), v128.load(from + i)));
  for (; i < len; i++) store<u8>(at + i, load<u8>(at + i) ^ load<u8>(from + i));
}

/** Encrypts or decrypts; the first three blocks of the key stream are there already, and block 0 is Poly1305's. */
function cipher(w: usize, at: usize, len: usize, lo: u32, hi: u32): void {
  const first = min(len, STRIDE - BLOCK);
  mix(at, w + STREAM + BLOCK, first);
  let block: u32 = 3;
  for (let done = first; done < len; done += STRIDE) {
    stream(w, block, lo, hi);
    mix(at + done, w + STREAM, min(len - done, STRIDE));
    block += 3;
  }
}

/** Takes the first half of block 0 as Poly1305's key (RFC 8439 section 2.6). */
function startHash(w: usize): void {
  const lo = load<u64>(w + STREAM) & (((<u64>0x0ffffffc) << 32) | 0x0fffffff);
  const hi = load<u64>(w + STREAM, 8) & (((<u64>0x0ffffffc) << 32) | 0x0ffffffc);
  store<u64>(w + CLAMPED, lo & 0x3ffffff);
  store<u64>(w + CLAMPED, (lo >> 26) & 0x3ffffff, 8);
  store<u64>(w + CLAMPED, ((lo >> 52) | (hi << 12)) & 0x3ffffff, 16);
  store<u64>(w + CLAMPED, (hi >> 14) & 0x3ffffff, 24);
  store<u64>(w + CLAMPED, hi >> 40, 32);
  memory.fill(w + HASH, 0, 40);
}

/** Blocks of 16 bytes from `p` up to `end`: h = (h + block) r mod 2^130 - 5, in limbs of 26 bits. */
function hash(w: usize, p: usize, end: usize): void {
  const r0 = load<u64>(w + CLAMPED);
  const r1 = load<u64>(w + CLAMPED, 8);
  const r2 = load<u64>(w + CLAMPED, 16);
  const r3 = load<u64>(w + CLAMPED, 24);
  const r4 = load<u64>(w + CLAMPED, 32);
  const s1 = r1 * 5;
  const s2 = r2 * 5;
  const s3 = r3 * 5;
  const s4 = r4 * 5;
  let h0 = load<u64>(w + HASH);
  let h1 = load<u64>(w + HASH, 8);
  let h2 = load<u64>(w + HASH, 16);
  let h3 = load<u64>(w + HASH, 24);
  let h4 = load<u64>(w + HASH, 32);
  for (; p < end; p += 16) {
    const lo = load<u64>(p);
    const hi = load<u64>(p, 8);
    h0 += lo & 0x3ffffff;
    h1 += (lo >> 26) & 0x3ffffff;
    h2 += ((lo >> 52) | (hi << 12)) & 0x3ffffff;
    h3 += (hi >> 14) & 0x3ffffff;
    h4 += (hi >> 40) | 0x1000000;
    const d0 = h0 * r0 + h1 * s4 + h2 * s3 + h3 * s2 + h4 * s1;
    let d1 = h0 * r1 + h1 * r0 + h2 * s4 + h3 * s3 + h4 * s2;
    let d2 = h0 * r2 + h1 * r1 + h2 * r0 + h3 * s4 + h4 * s3;
    let d3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + h4 * s4;
    let d4 = h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0;
    d1 += d0 >> 26;
    d2 += d1 >> 26;
    d3 += d2 >> 26;
    d4 += d3 >> 26;
    h0 = (d0 & 0x3ffffff) + (d4 >> 26) * 5;
    h1 = (d1 & 0x3ffffff) + (h0 >> 26);
    h0 &= 0x3ffffff;
    h2 = d2 & 0x3ffffff;
    h3 = d3 & 0x3ffffff;
    h4 = d4 & 0x3ffffff;
  }
  store<u64>(w + HASH, h0);
  store<u64>(w + HASH, h1, 8);
  store<u64>(w + HASH, h2, 16);
  store<u64>(w + HASH, h3, 24);
  store<u64>(w + HASH, h4, 32);
}

/** h mod 2^130 - 5, plus the second half of the key, to TAG. */
function finishHash(w: usize): void {
  let h0 = load<u64>(w + HASH);
  let h1 = load<u64>(w + HASH, 8);
  let h2 = load<u64>(w + HASH, 16);
  let h3 = load<u64>(w + HASH, 24);
  let h4 = load<u64>(w + HASH, 32);
  h2 += h1 >> 26;
  h1 &= 0x3ffffff;
  h3 += h2 >> 26;
  h2 &= 0x3ffffff;
  h4 += h3 >> 26;
  h3 &= 0x3ffffff;
  h0 += (h4 >> 26) * 5;
  h4 &= 0x3ffffff;
  h1 += h0 >> 26;
  h0 &= 0x3ffffff;
  // That last carry may run through all limbs once more.
  h2 += h1 >> 26;
  h1 &= 0x3ffffff;
  h3 += h2 >> 26;
  h2 &= 0x3ffffff;
  h4 += h3 >> 26;
  h3 &= 0x3ffffff;
  // h - p = h + 5 - 2^130; taken, without a branch, where that does not go below zero.
  const g0 = h0 + 5;
  const g1 = h1 + (g0 >> 26);
  const g2 = h2 + (g1 >> 26);
  const g3 = h3 + (g2 >> 26);
  const g4 = h4 + (g3 >> 26) - 0x4000000;
  const keep = <u64>(<i64>g4 >> 63);
  h0 = (h0 & keep) | (g0 & 0x3ffffff & ~keep);
  h1 = (h1 & keep) | (g1 & 0x3ffffff & ~keep);
  h2 = (h2 & keep) | (g2 & 0x3ffffff & ~keep);
  h3 = (h3 & keep) | (g3 & 0x3ffffff & ~keep);
  h4 = (h4 & keep) | (g4 & 0x3ffffff & ~keep);
  const lo = h0 | (h1 << 26) | (h2 << 52);
  const hi = (h2 >> 12) | (h3 << 14) | (h4 << 40);
  const s = load<u64>(w + STREAM, 16);
  const sumLo = lo + s;
  store<u64>(w + TAG, sumLo);
  store<u64>(w + TAG, hi + load<u64>(w + STREAM, 24) + u64(sumLo < s), 8);
}

/** The tag of the ciphertext at `at` (RFC 8439 section 2.8), under the key in block 0 of the key stream; exported for its tests. */
export function authenticate(w: usize, at: usize, len: usize): void {
  startHash(w);
  const whole = len & ~15;
  hash(w, at, at + whole);
  const rest = len - whole;
  let tail = w + TAIL + 16;
  if (rest > 0) {
    tail = w + TAIL;
    v128.store(tail, i64x2.splat(0));
    memory.copy(tail, at + whole, rest);
  }
  store<u64>(w + TAIL, 0, 16);
  store<u64>(w + TAIL, len, 24);
  hash(w, tail, w + TAIL + 32);
  finishHash(w);
}

/** Nothing of a packet's key stream stays behind. */
function wipe(w: usize): void {
  memory.fill(w, 0, CLAMPED + 40);
}

/** Encrypts `len` bytes at `at` in place, and puts the tag behind them. */
export function seal(w: usize, at: usize, len: usize, lo: u32, hi: u32): void {
  stream(w, 0, lo, hi);
  // The cipher goes on in the place of block 0, which is the hash's key.
  const s0 = v128.load(w + STREAM);
  const s1 = v128.load(w + STREAM, 16);
  cipher(w, at, len, lo, hi);
  v128.store(w + STREAM, s0);
  v128.store(w + STREAM, s1, 16);
  authenticate(w, at, len);
  v128.store(at + len, v128.load(w + TAG));
  wipe(w);
}

/** Decrypts `len` bytes at `at` in place where the tag behind them is right, compared in constant time; else changes nothing. */
export function open(w: usize, at: usize, len: usize, lo: u32, hi: u32): bool {
  stream(w, 0, lo, hi);
  authenticate(w, at, len);
  const genuine = !v128.any_true(v128.xor(v128.load(at + len), v128.load(w + TAG)));
  if (genuine) cipher(w, at, len, lo, hi);
  wipe(w);
  return genuine;
}
