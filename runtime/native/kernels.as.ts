/**
 * The hot loops over packet bytes, in AssemblyScript (tools/kernels.mjs compiles it to kernels.wasm): they run on the data plane's
 * own memory, so `at` and the like are offsets into it. Callers check every range.
 */

/** The ones' complement sum of `len` bytes as big-endian words, folded to 16 bits (RFC 1071); not complemented. */
export function sum(at: usize, len: usize): u32 {
  let wide = i64x2.splat(0);
  const end = at + (len & ~15);
  let p = at;
  for (; p < end; p += 16) {
    const v = v128.load(p);
    wide = i64x2.add(wide, i64x2.add(i64x2.extend_low_i32x4_u(v), i64x2.extend_high_i32x4_u(v)));
  }
  let s: u64 = i64x2.extract_lane(wide, 0) + i64x2.extract_lane(wide, 1);
  let rest = len & 15;
  while (rest >= 2) {
    s += load<u16>(p);
    p += 2;
    rest -= 2;
  }
  if (rest) s += load<u8>(p);
  s = (s >> 32) + (s & 0xffffffff);
  s = (s >> 16) + (s & 0xffff);
  s = (s >> 16) + (s & 0xffff);
  s = (s >> 16) + (s & 0xffff);
  s = (s >> 16) + (s & 0xffff);
  // The words were read as little-endian; the sum does not depend on that but for the order of its own bytes.
  return (((s & 0xff) << 8) | (s >> 8)) as u32;
}

export function copy(to: usize, from: usize, len: usize): void {
  memory.copy(to, from, len);
}

// Places in the AEAD's work area; see runtime/dataplane/aead-openssl.ts.
const NONCE: usize = 0;
const TAG: usize = 16;
const BEFORE: usize = 64;
const AFTER: usize = 128;
const OUT: usize = 1024;

/**
 * Makes ready the bytes around the text at `at` so that one call of ChaCha20 makes the Poly1305 key with the text, and one call of
 * Poly1305 takes the text with padding and lengths: 64 zero bytes before it and up to 31 bytes after it. What was there is kept
 * in the work area `w` for the call that ends the work.
 */
export function lend(w: usize, at: usize, len: usize, lo: u32, hi: u32): void {
  store<u64>(w + NONCE, 0);
  store<u32>(w + NONCE, lo, 8);
  store<u32>(w + NONCE, hi, 12);
  const zero = i64x2.splat(0);
  for (let i: usize = 0; i < 64; i += 16) {
    v128.store(w + BEFORE + i, v128.load(at - 64 + i));
    v128.store(at - 64 + i, zero);
  }
  const end = at + len;
  v128.store(w + AFTER, v128.load(end));
  v128.store(w + AFTER, v128.load(end, 16), 16);
  v128.store(end, zero);
  v128.store(end, zero, 16);
  store<u64>(end + ((16 - (len & 15)) & 15), len, 8);
}

function giveBack(w: usize, at: usize, len: usize): void {
  for (let i: usize = 0; i < 64; i += 16) v128.store(at - 64 + i, v128.load(w + BEFORE + i));
  v128.store(at + len, v128.load(w + AFTER));
  v128.store(at + len, v128.load(w + AFTER, 16), 16);
}

/** Restores what `lend` kept and puts the tag behind the ciphertext. */
export function finishSeal(w: usize, at: usize, len: usize): void {
  giveBack(w, at, len);
  v128.store(at + len, v128.load(w + TAG));
}

/** Restores what `lend` kept; where the tag is right, in constant time, the plaintext takes the ciphertext's place. */
export function finishOpen(w: usize, at: usize, len: usize): bool {
  giveBack(w, at, len);
  if (v128.any_true(v128.xor(v128.load(at + len), v128.load(w + TAG)))) {
    memory.fill(w + OUT, 0, len + 64);
    return false;
  }
  memory.copy(at, w + OUT + 64, len);
  return true;
}
