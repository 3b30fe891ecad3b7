/** Two ends in two namespaces on a cable, or on a bad line with a relay between. */
import { newPresharedKey } from "./keys";
import { connect, Namespace } from "./namespace";
import type { RelayOptions } from "./programs/udp-relay";
import { Relay } from "./relay";
import { Scratch } from "./scratch";
import { startTrafficServer } from "./traffic";
import { type End, type EndKind, newEnd } from "./wireguard-end";

export interface PairOptions {
  readonly left: EndKind;
  readonly right: EndKind;
  /** Family of the addresses outside. @default 4 */
  readonly outer?: 4 | 6;
  readonly psk?: boolean;
  readonly mtu?: number;
  /** Of the cable. @default 1500 */
  readonly outerMtu?: number;
  /** A relay between the two instead of a plain cable. */
  readonly relay?: Partial<Pick<RelayOptions, "delay" | "jitter" | "reorder" | "duplicate" | "drop" | "seed">>;
  /** Our own ends that move one packet at a time, without virtio headers. @default none */
  readonly plain?: readonly ("left" | "right")[];
  /** True: the right end knows where the left one is, too. Else only the left one can begin. @default false */
  readonly bothKnow?: boolean;
  /** Programs with a log tell all they do. @default false */
  readonly verbose?: boolean;
}

export const inner = {
  left: { 4: "10.77.0.1", 6: "fd77::1" },
  right: { 4: "10.77.0.2", 6: "fd77::2" },
} as const;

const PORT = 51820;
const RELAY_PORT = 7000;

/** Addresses outside. With a relay the two sides are different ranges. */
const outside = {
  left: { 4: "192.0.2.1", 6: "2001:db8::1" },
  right: { 4: "192.0.2.2", 6: "2001:db8::2" },
  farRight: { 4: "198.51.100.2", 6: "2001:db8:1::2" },
  relayLeft: { 4: "192.0.2.254", 6: "2001:db8::fe" },
  relayRight: { 4: "198.51.100.254", 6: "2001:db8:1::fe" },
} as const;

const withPort = (address: string, port: number) => `${address.includes(":") ? `[${address}]` : address}:${port}`;
const withLength = (addresses: { 4: string; 6: string }) => [`${addresses[4]}/24`, `${addresses[6]}/64`];

export class Pair {
  relay: Relay | undefined;

  private constructor(
    readonly scratch: Scratch,
    readonly left: End,
    readonly right: End,
    readonly options: PairOptions,
  ) {}

  /** Both ends up, and a traffic server on the right. The caller disposes the pair. */
  static async create(options: PairOptions): Promise<Pair> {
    const scratch = new Scratch();
    try {
      const outer = options.outer ?? 4;
      const [a, b] = [await Namespace.create(scratch, "a"), await Namespace.create(scratch, "b")];
      const common = { mtu: options.mtu, port: PORT };
      const end = (side: "left" | "right", namespace: Namespace) =>
        newEnd(options[side], {
          ...common,
          namespace,
          addresses: withLength(inner[side]),
          vnetHeader: !options.plain?.includes(side),
          verbose: options.verbose,
        });
      const left = end("left", a);
      const right = end("right", b);
      const pair = new Pair(scratch, left, right, options);
      const cable = { mtu: options.outerMtu };
      const far = options.relay ? outside.farRight : outside.right;
      if (options.relay) {
        const r = await Namespace.create(scratch, "r");
        await connect(
          pair.cable(a, outside.left),
          { namespace: r, device: "left", addresses: withLength(outside.relayLeft) },
          cable,
        );
        await connect(
          pair.cable(b, far),
          { namespace: r, device: "right", addresses: withLength(outside.relayRight) },
          cable,
        );
        pair.relay = await Relay.start(r, {
          ...{ delay: 0, jitter: 0, reorder: 0, duplicate: 0, drop: 0, seed: 1 },
          ...options.relay,
          left: { address: outside.relayLeft[outer], port: RELAY_PORT },
          right: { address: outside.relayRight[outer], port: RELAY_PORT },
          to: { address: far[outer], port: PORT },
        });
      } else await connect(pair.cable(a, outside.left), pair.cable(b, far), cable);

      const presharedKey = options.psk ? newPresharedKey() : undefined;
      const toRight = options.relay ? withPort(outside.relayLeft[outer], RELAY_PORT) : withPort(far[outer], PORT);
      const toLeft = options.relay
        ? withPort(outside.relayRight[outer], RELAY_PORT)
        : withPort(outside.left[outer], PORT);
      await left.setPeers({
        publicKey: right.publicKey,
        presharedKey,
        allowedIps: hosts(inner.right),
        endpoint: toRight,
      });
      await right.setPeers({
        publicKey: left.publicKey,
        presharedKey,
        allowedIps: hosts(inner.left),
        ...(options.bothKnow ? { endpoint: toLeft } : {}),
      });
      await Promise.all([left.start(), right.start(), startTrafficServer(b)]);
      return pair;
    } catch (error) {
      await scratch.dispose();
      throw error;
    }
  }

  private cable(namespace: Namespace, addresses: { 4: string; 6: string }) {
    return { namespace, device: "cable", addresses: withLength(addresses) };
  }

  /** Gives an end another address outside and takes the old one away. */
  async move(side: "left" | "right", outer: 4 | 6): Promise<string> {
    const { namespace } = this[side];
    const old = outside[side][outer];
    const fresh = outer === 4 ? old.replace(/\d+$/, (n) => String(Number(n) + 10)) : `${old}0`;
    const length = outer === 4 ? 24 : 64;
    // In this order: with its first address the kernel removes all others of the range.
    await namespace.removeAddress("cable", `${old}/${length}`);
    await namespace.addAddress("cable", `${fresh}/${length}`);
    return withPort(fresh, PORT);
  }

  async dispose(): Promise<void> {
    await this.scratch.dispose();
  }

  /** What both programs said, for error messages. */
  get output(): string {
    return `--- left: ${this.left.output}\n--- right: ${this.right.output}`;
  }
}

function hosts(addresses: { 4: string; 6: string }): string[] {
  return [`${addresses[4]}/32`, `${addresses[6]}/128`];
}

/** Runs `body` on a pair of its own; a failure shows what the two programs said. */
export async function withPair(options: PairOptions, body: (pair: Pair) => Promise<void>): Promise<void> {
  const pair = await Pair.create(options);
  try {
    await body(pair);
  } catch (error) {
    if (error instanceof Error) error.message += `\n${pair.output}`;
    throw error;
  } finally {
    await pair.dispose();
  }
}
