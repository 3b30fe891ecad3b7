/** Congestion window in bytes by CUBIC (RFC 9438), slow start with appropriate byte counting (RFC 3465). */

const C = 0.4;
const BETA = 0.7;
/** RFC 9438 section 4.3: Reno's growth for the same average rate. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

/** RFC 6928. */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600));
}

export class Cubic {
  window: number;
  threshold = Number.POSITIVE_INFINITY;
  #max = 0;
  #k = 0;
  #epoch = -1;
  #origin = 0;
  #reno = 0;
  #undoWindow = 0;
  #undoThreshold = 0;
  #undoMax = 0;

  constructor(public mss: number) {
    this.window = initialWindow(mss);
  }

  /** The handshake is complete. @param careful a SYN was lost: one segment (RFC 5681 section 3.1) */
  restart(careful: boolean): void {
    this.window = careful ? this.mss : initialWindow(this.mss);
  }

  get slowStart(): boolean {
    return this.window < this.threshold;
  }

  /** `bytes` were acknowledged while the window was what limited the sender. Times in milliseconds. */
  acknowledged(bytes: number, now: number, rtt: number): void {
    let left = bytes;
    if (this.slowStart) {
      const grow = Math.min(left, Math.max(0, this.threshold - this.window));
      this.window += grow;
      left -= grow;
      if (left <= 0) return;
    }
    if (this.#epoch < 0) this.#begin(now);
    // RFC 9438 section 4.2: the target is where the curve will be a round trip from now.
    const t = (now - this.#epoch + rtt) / 1000;
    const segments = this.#origin / this.mss + C * (t - this.#k) ** 3;
    const target = Math.min(this.window * 1.5, Math.max(this.window, segments * this.mss));
    this.#reno += (ALPHA * left * this.mss) / this.window;
    this.window += ((target - this.window) * left) / this.window;
    if (this.#reno > this.window) this.window = this.#reno;
  }

  #begin(now: number): void {
    this.#epoch = now;
    this.#reno = this.window;
    if (this.window < this.#max) {
      this.#k = Math.cbrt((this.#max - this.window) / this.mss / C);
      this.#origin = this.#max;
    } else {
      this.#k = 0;
      this.#origin = this.window;
    }
  }

  /** A loss: lowers the threshold; the caller moves the window there. */
  congestion(inFlight: number): void {
    this.#undoWindow = this.window;
    this.#undoThreshold = this.threshold;
    this.#undoMax = this.#max;
    this.#epoch = -1;
    // RFC 9438 section 4.7: fast convergence.
    this.#max = this.window < this.#max ? (this.window * (1 + BETA)) / 2 : this.window;
    // RFC 9438 section 4.6 with RFC 5681's flight size: a window that was not used says nothing.
    this.threshold = Math.max(2 * this.mss, Math.min(this.window, Math.max(inFlight, this.mss)) * BETA);
  }

  /** The loss was none: back to where it was before (RFC 4015, RFC 9438 section 4.9). */
  undo(): void {
    if (this.#undoWindow === 0) return;
    this.window = Math.max(this.window, this.#undoWindow);
    this.threshold = this.#undoThreshold;
    this.#max = this.#undoMax;
    this.#epoch = -1;
    this.#undoWindow = 0;
  }

  /** Nothing was sent for `idle` ms: the window decays to its first size (RFC 2861, RFC 5681 section 4.1). */
  idle(idle: number, rto: number): void {
    const first = initialWindow(this.mss);
    if (this.window <= first) return;
    const halvings = Math.min(30, Math.floor(idle / rto));
    if (halvings === 0) return;
    this.threshold = Math.max(this.threshold, this.window * 0.75);
    this.window = Math.max(first, this.window / 2 ** halvings);
    this.#epoch = -1;
  }

  setMss(mss: number): void {
    this.mss = mss;
    if (this.window < mss) this.window = mss;
  }
}
