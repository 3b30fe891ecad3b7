/** Timestamps of initiations: 8 bytes of TAI seconds and 4 of nanoseconds, big-endian, so that bytes compare as times. [paper 5.1] */
import { TIMESTAMP_BYTES, TIMESTAMP_GRAIN } from "./constants";
import type { Clock } from "./types";

/** 2^62 plus the ten seconds between TAI and UTC in 1970, upper and lower 32 bits. */
const BASE_HI = 0x40000000;
const BASE_LO = 10;
const NANOS_PER_SECOND = 1_000_000_000;

/** @param nanos is rounded down to TIMESTAMP_GRAIN. */
export function timestampOf(seconds: number, nanos: number): Uint8Array {
  const out = new Uint8Array(TIMESTAMP_BYTES);
  const view = new DataView(out.buffer);
  const low = BASE_LO + seconds;
  view.setUint32(0, BASE_HI + Math.floor(low / 2 ** 32));
  view.setUint32(4, low % 2 ** 32);
  view.setUint32(8, nanos - (nanos % TIMESTAMP_GRAIN));
  return out;
}

export function isAfter(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) > 0;
}

/**
 * Timestamps of one device, each later than the one before, even where the wall clock is set back: receivers refuse
 * anything that is not newer.
 */
export class TimestampSource {
  private lastSeconds = -1;
  private lastNanos = 0;

  constructor(private readonly clock: Clock) {}

  next(): Uint8Array {
    let { seconds, nanos } = this.clock.wall();
    nanos -= nanos % TIMESTAMP_GRAIN;
    if (seconds < this.lastSeconds || (seconds === this.lastSeconds && nanos <= this.lastNanos)) {
      seconds = this.lastSeconds;
      nanos = this.lastNanos + TIMESTAMP_GRAIN;
      if (nanos >= NANOS_PER_SECOND) {
        seconds++;
        nanos = 0;
      }
    }
    this.lastSeconds = seconds;
    this.lastNanos = nanos;
    return timestampOf(seconds, nanos);
  }
}
