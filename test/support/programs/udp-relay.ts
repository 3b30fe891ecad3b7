/**
 * A bad line for UDP: passes datagrams between two sides and delays, reorders, doubles and drops some of them.
 * Takes a RelayOptions as JSON in its first argument; prints `ready` when both sides are bound, and its RelayCounts as JSON on
 * SIGUSR2 and at its end.
 */
import * as dgram from "node:dgram";
import { seededRandom } from "./random";

export interface RelayOptions {
  /** Where the left side sends to, and where the right side sends to. */
  readonly left: Address;
  readonly right: Address;
  /** The right peer; the left one is learnt from its first datagram (and again when it moves). */
  readonly to: Address;
  readonly seed: number;
  /** Milliseconds; each datagram gets `delay` plus up to `jitter`. */
  readonly delay: number;
  readonly jitter: number;
  /** Probabilities. A reordered datagram waits for 20 ms more, so that others overtake it. */
  readonly reorder: number;
  readonly duplicate: number;
  readonly drop: number;
}

export interface Address {
  readonly address: string;
  readonly port: number;
}

export interface RelayCounts {
  passed: number;
  dropped: number;
  doubled: number;
  reordered: number;
}

const REORDER_DELAY = 20;

function relay(options: RelayOptions): void {
  const random = seededRandom(options.seed);
  const counts: RelayCounts = { passed: 0, dropped: 0, doubled: 0, reordered: 0 };
  const socketFor = (at: Address) => dgram.createSocket({ type: at.address.includes(":") ? "udp6" : "udp4" });
  const left = { socket: socketFor(options.left), peer: undefined as Address | undefined };
  const right = { socket: socketFor(options.right), peer: options.to as Address | undefined };

  const pass = (from: typeof left, out: typeof left) => {
    from.socket.on("message", (message, sender) => {
      from.peer = { address: sender.address, port: sender.port };
      if (random() < options.drop) {
        counts.dropped++;
        return;
      }
      const copies = random() < options.duplicate ? 2 : 1;
      if (copies === 2) counts.doubled++;
      for (let i = 0; i < copies; i++) {
        let delay = options.delay + random() * options.jitter;
        if (random() < options.reorder) {
          delay += REORDER_DELAY;
          counts.reordered++;
        }
        const send = () => {
          const to = out.peer;
          if (to === undefined) return;
          counts.passed++;
          out.socket.send(message, to.port, to.address);
        };
        if (delay > 0) setTimeout(send, delay);
        else send();
      }
    });
    // A peer whose port is closed for a moment answers with ICMP; the line goes on.
    from.socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.syscall === "bind") {
        console.error(error.message);
        process.exit(1);
      }
    });
  };
  pass(left, right);
  pass(right, left);

  let open = 2;
  const ready = () => {
    if (--open === 0) console.log("ready");
  };
  left.socket.bind(options.left.port, options.left.address, ready);
  right.socket.bind(options.right.port, options.right.address, ready);
  process.on("SIGUSR2", () => console.log(JSON.stringify(counts)));
  process.on("SIGTERM", () => process.exit(0));
  process.on("exit", () => console.log(JSON.stringify(counts)));
}

relay(JSON.parse(process.argv[2]));
