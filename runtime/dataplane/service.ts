/** Service addresses and what lies behind them: which backend is whose, in which order they are tried. */
import ipaddr from "ipaddr.js";
import { WarrenError } from "../errors";
import type { ServiceConfig } from "./config";
import { KEY_WORDS } from "./headers";

export interface Backend {
  /** One word (IPv4) and zeros, or four. */
  readonly words: Int32Array;
  readonly healthy: boolean;
  readonly distance: number;
}

/** One address of a service, with its backends of the same family. */
export class ServiceAddress {
  /** The address as a flow's key has it. */
  readonly words: Int32Array;

  constructor(
    readonly id: string,
    /** 4 or 16 bytes. */
    readonly address: Uint8Array,
    readonly backends: readonly Backend[],
  ) {
    this.words = wordsOf(address);
  }

  /**
   * The backend that is tried as number `attempt` for a flow: healthy ones before others, the client itself after all others of these,
   * nearer ones before farther, and among equals in an order that the flow's own ends decide. So flows spread evenly, and find
   * their backend again after a restart.
   * @param key of the flow, from the client to this address.
   * @returns undefined where there are not so many
   */
  choose(key: Int32Array, attempt: number): Backend | undefined {
    let last: Backend | undefined;
    let lastHash = 0;
    const flow = flowHash(key);
    for (let i = 0; i <= attempt; i++) {
      let best: Backend | undefined;
      let bestHash = 0;
      for (const backend of this.backends) {
        const hash = backendHash(flow, backend);
        if (last !== undefined && order(key, backend, hash, last, lastHash) <= 0) continue;
        if (best !== undefined && order(key, backend, hash, best, bestHash) >= 0) continue;
        best = backend;
        bestHash = hash;
      }
      if (best === undefined) return undefined;
      last = best;
      lastHash = bestHash;
    }
    return last;
  }

  /** The backend with this address. */
  find(words: Int32Array, at: number): Backend | undefined {
    return this.backends.find((backend) => sameAddress(backend.words, 0, words, at));
  }
}

/** @throws WarrenError WARREN_INVALID_RANGE where an address is none */
export function serviceAddresses(services: readonly ServiceConfig[]): ServiceAddress[] {
  return services.flatMap(({ id, addresses, backends }) => {
    const behind = backends.flatMap((backend) =>
      backend.addresses.map((text) => ({ bytes: bytesOf(text, id), text, backend })),
    );
    return addresses.map((text) => {
      const address = bytesOf(text, id);
      const seen = new Map<string, Backend>();
      for (const { bytes, backend } of behind) {
        const { healthy, distance } = backend;
        if (bytes.length === address.length) seen.set(String(bytes), { words: wordsOf(bytes), healthy, distance });
      }
      return new ServiceAddress(id, address, [...seen.values()]);
    });
  });
}

function wordsOf(address: Uint8Array): Int32Array {
  const words = new Int32Array(4);
  const view = new DataView(address.buffer, address.byteOffset, address.length);
  for (let i = 0; i < address.length / 4; i++) words[i] = view.getInt32(4 * i);
  return words;
}

export function sameAddress(a: Int32Array, at: number, b: Int32Array, bt: number): boolean {
  return a[at] === b[bt] && a[at + 1] === b[bt + 1] && a[at + 2] === b[bt + 2] && a[at + 3] === b[bt + 3];
}

function bytesOf(text: string, id: string): Uint8Array {
  if (!ipaddr.isValid(text))
    throw new WarrenError(
      "WARREN_INVALID_RANGE",
      `Service ${id} has ${JSON.stringify(text)} where an IP address belongs.`,
      { path: "services" },
    );
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}

/** Which of two comes first: below 0, the first. */
function order(key: Int32Array, a: Backend, hashA: number, b: Backend, hashB: number): number {
  const tierA = (a.healthy ? 0 : 2) + (sameAddress(a.words, 0, key, 0) ? 1 : 0);
  const tierB = (b.healthy ? 0 : 2) + (sameAddress(b.words, 0, key, 0) ? 1 : 0);
  if (tierA !== tierB) return tierA - tierB;
  if (a.distance !== b.distance) return a.distance - b.distance;
  if (hashA !== hashB) return hashA - hashB;
  for (let i = 0; i < 4; i++) if (a.words[i] !== b.words[i]) return (a.words[i] >>> 0) - (b.words[i] >>> 0);
  return 0;
}

function flowHash(key: Int32Array): number {
  let h = 0;
  for (let i = 0; i < KEY_WORDS; i++) h = mix(h ^ key[i]);
  return h;
}

function backendHash(flow: number, { words }: Backend): number {
  let h = flow;
  for (let i = 0; i < 4; i++) h = mix(h ^ words[i]);
  return h >>> 0;
}

function mix(value: number): number {
  const h = Math.imul(value ^ (value >>> 16) ^ 0x9e3779b9, 0x85ebca6b);
  return Math.imul(h ^ (h >>> 13), 0xc2b2ae35) ^ (h >>> 15);
}
