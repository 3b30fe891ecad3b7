/** Ports for who does not care which: unpredictable (RFC 6056 section 3.3.1). */

const FIRST = 32768;
const COUNT = 28232;

/** @returns a port that `taken` denies, or 0 where all are taken */
export function freePort(random: (bytes: number) => Uint8Array, taken: (port: number) => boolean): number {
  const bytes = random(4);
  const start = (bytes[0] | (bytes[1] << 8) | (bytes[2] << 16)) % COUNT;
  for (let i = 0; i < COUNT; i++) {
    const port = FIRST + ((start + i) % COUNT);
    if (!taken(port)) return port;
  }
  return 0;
}
