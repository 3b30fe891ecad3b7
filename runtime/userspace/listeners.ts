/** What an app listens on, from /proc: parsed by pure functions, read by one. */
import * as fs from "node:fs";
import * as ipaddr from "ipaddr.js";

export interface Listener {
  readonly protocol: "tcp" | "udp";
  /** As the system has it: `127.0.0.1`, `0.0.0.0`, `::`. */
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** States of /proc/net/{tcp,udp}: TCP_LISTEN, and TCP_CLOSE for a UDP socket that is not connected. */
const LISTENING = { tcp: "0A", udp: "07" } as const;

/** Address and port of one end. */
const PROC_END = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/;

/** An address as /proc/net has it: hexadecimal, each 32-bit word in the machine's (little-endian) order. */
export function parseProcAddress(hex: string): string {
  const bytes = Buffer.from(hex, "hex");
  for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  return ipaddr.fromByteArray([...bytes]).toString();
}

/** The sockets of /proc/net/tcp, tcp6, udp or udp6 that wait for others. */
export function parseListeners(protocol: "tcp" | "udp", text: string): Listener[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      const end = PROC_END.exec(local ?? "");
      if (end === null || inode === undefined || state !== LISTENING[protocol]) return [];
      return [{ protocol, address: parseProcAddress(end[1]!), port: Number.parseInt(end[2]!, 16), inode }];
    });
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    // No IPv6, or no such system.
    return "";
  }
}

/** The inodes of the sockets that these processes hold; those of processes that have ended, or may not be looked at, are missing. */
export function socketsOf(pids: readonly number[]): Set<string> {
  const inodes = new Set<string>();
  for (const pid of pids) {
    let names: string[] = [];
    try {
      names = fs.readdirSync(`/proc/${pid}/fd`);
    } catch {
      continue;
    }
    for (const name of names) {
      try {
        const inode = /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/${pid}/fd/${name}`))?.[1];
        if (inode !== undefined) inodes.add(inode);
      } catch {
        // Closed meanwhile.
      }
    }
  }
  return inodes;
}

/** What these processes listen on; nothing where the system does not tell (other than Linux). */
export function listenersOf(pids: readonly number[]): Listener[] {
  const inodes = socketsOf(pids);
  if (inodes.size === 0) return [];
  return (["tcp", "udp"] as const).flatMap((protocol) =>
    ["", "6"]
      .flatMap((family) => parseListeners(protocol, readText(`/proc/net/${protocol}${family}`)))
      .filter(({ inode }) => inodes.has(inode)),
  );
}

/** Whom it can hear: only this machine, or others too. */
export function isLoopback(address: string): boolean {
  const ip = ipaddr.process(address);
  return ip.range() === "loopback";
}

/** Where to connect to reach a listener on this machine; several for one that hears every address of a family. */
export function reachableAt({ address }: Listener): string[] {
  if (address === "0.0.0.0") return ["127.0.0.1"];
  // It may hear IPv4 too, or not.
  if (address === "::") return ["::1", "127.0.0.1"];
  return [address];
}

export interface Ports {
  /** The range that the system lends to sockets that ask for none: a UDP socket there is most likely a client's. */
  readonly first: number;
  readonly last: number;
  /** Those where a server is expected all the same. */
  readonly serves: readonly number[];
}

/** Linux' own range, where nobody has set another (ip(7)). */
const LENT = { first: 32_768, last: 60_999 };

export function parsePortRange(text: string): Pick<Ports, "first" | "last"> {
  const [first, last] = text.trim().split(/\s+/).map(Number);
  return Number.isInteger(first) && Number.isInteger(last) ? { first: first!, last: last! } : LENT;
}

export function lentPorts(): Pick<Ports, "first" | "last"> {
  return parsePortRange(readText("/proc/sys/net/ipv4/ip_local_port_range"));
}

/** Listeners that others than this machine may reach, as `0.0.0.0:8080`, each once, in order. */
export function beyondLoopback(listeners: readonly Listener[], { first, last, serves }: Ports): string[] {
  const texts = listeners
    .filter(({ address }) => !isLoopback(address))
    .filter(({ protocol, port }) => protocol === "tcp" || port < first || port > last || serves.includes(port))
    .map(({ protocol, address, port }) => {
      const shown = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
      return protocol === "udp" ? `${shown}/udp` : shown;
    });
  return [...new Set(texts)].sort();
}
