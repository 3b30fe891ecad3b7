/** Who holds the other end of a socket on loopback: from /proc/net (proc_net(5)), where the system has it. */
import * as fs from "node:fs";
import type * as net from "node:net";
import type { Endpoint } from "../netstack/options";

/** A uid; `gone`: nobody can be named; undefined: this system names nobody. */
export type Account = number | "gone" | undefined;

/** Other addresses of loopback are anybody's: the ports there are not those of the same number here. */
const ADDRESS = "127.0.0.1";
/** As the tables have it. */
const LOOPBACK = "0100007F";
/** Where a socket may be bound that sends from 127.0.0.1. */
const SENDS_FROM_LOOPBACK = [LOOPBACK, "00000000", "0".repeat(32), `0000000000000000FFFF0000${LOOPBACK}`];

/** Of the other end of a connection on 127.0.0.1. */
export function accountOfPeer(socket: net.Socket): Account {
  if (process.platform !== "linux") return undefined;
  const { remoteAddress, remotePort, localPort } = socket;
  if (remoteAddress !== ADDRESS || remotePort === undefined || localPort === undefined) return "gone";
  const [local, remote] = [end(LOOPBACK, remotePort), end(LOOPBACK, localPort)];
  return ownerIn([readTable("tcp")], (socketLocal, socketRemote) => socketLocal === local && socketRemote === remote);
}

/** Of whoever sends datagrams from this port of 127.0.0.1. */
export function accountOfSender({ address, port }: Endpoint): Account {
  if (process.platform !== "linux") return undefined;
  if (address !== ADDRESS) return "gone";
  const ends = SENDS_FROM_LOOPBACK.map((address) => end(address, port));
  return ownerIn([readTable("udp"), readTable("udp6")], (local) => ends.includes(local));
}

/** The one account that all matching sockets of these tables belong to. */
export function ownerIn(tables: readonly string[], matches: (local: string, remote: string) => boolean): Account {
  const owners = new Set<number>();
  for (const line of tables.flatMap((table) => table.split("\n").slice(1))) {
    const [, local, remote, , , , , uid, , inode] = line.trim().split(/\s+/);
    // A socket without an owner has no inode, and says 0 for its owner.
    if (local !== undefined && remote !== undefined && inode !== undefined && inode !== "0" && matches(local, remote))
      owners.add(Number(uid));
  }
  const [owner] = owners;
  return owners.size === 1 ? owner : "gone";
}

function end(address: string, port: number): string {
  return `${address}:${port.toString(16).toUpperCase().padStart(4, "0")}`;
}

function readTable(name: string): string {
  try {
    return fs.readFileSync(`/proc/net/${name}`, "latin1");
  } catch {
    // No such family, or no descriptor is left: then nobody can be named.
    return "";
  }
}
