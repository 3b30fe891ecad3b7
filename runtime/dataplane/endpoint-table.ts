/** UDP endpoints as the kernel writes them, interned so that a known sender costs one comparison and no allocation. */
import ipaddr from "ipaddr.js";
import { Errno } from "../native/errno";
import { encodeSockaddr, SCOPE_AT } from "../native/packet-io";
import type { Endpoint } from "../wireguard/types";
import type { UdpSocket } from "./port";
import { scopeOf, zoneOf } from "./zones";

const AF_INET = 2;
const SLOTS = 1024;
/** Datagrams sent one by one before several at once are tried again: a refused call among so many costs nothing. */
const RETRY_AFTER = 10_000;

export class SocketEndpoint implements Endpoint {
  readonly family: 4 | 6;
  /** The socket on which it was last heard: where its answers leave. */
  socket: UdpSocket | undefined;
  /**
   * The address that it wrote to and the device by which that came, as the system told it: answers leave from there, however
   * many addresses this machine has. [Linux struct endpoint, src4 and src6]
   */
  local: Uint8Array | undefined;
  /** Datagrams longer than this are sent to it one by one. */
  maxSegment = Number.POSITIVE_INFINITY;
  private untilRetry = 0;
  private written: string | undefined;
  private zoneText: string | undefined;

  /** @param hostText as the system wrote the address, with a zone where it has one */
  constructor(
    readonly address: Uint8Array,
    readonly port: number,
    /** What sendmsg wants: replaced where it changes, its bytes stay. */
    public sockaddr: Uint8Array,
    private hostText?: string,
  ) {
    this.family = address.length === 4 ? 4 : 6;
  }

  get host(): string {
    if (this.hostText === undefined) {
      const address = ipaddr.fromByteArray(Array.from(this.address)).toString();
      this.hostText = this.zone === undefined ? address : `${address}%${this.zone}`;
    }
    return this.hostText;
  }

  get zone(): string | undefined {
    if (this.family === 4) return undefined;
    if (this.zoneText === undefined) {
      const at = this.hostText?.indexOf("%") ?? -1;
      this.zoneText = at >= 0 ? this.hostText!.slice(at + 1) : zoneOf(scopeAt(this.sockaddr));
    }
    return this.zoneText;
  }

  /** After a send that failed: its device may be there only now, or be another one of that name. @returns whether there is news. */
  findZone(): boolean {
    const { zone } = this;
    if (zone === undefined) return false;
    const scope = scopeOf(zone);
    if (scope === scopeAt(this.sockaddr)) return false;
    this.sockaddr = encodeSockaddr(this.address, this.port, scope);
    return true;
  }

  get text(): string {
    if (this.written === undefined)
      this.written = this.family === 4 ? `${this.host}:${this.port}` : `[${this.host}]:${this.port}`;
    return this.written;
  }

  /**
   * Notes that several datagrams of this length were refused in one call.
   * @returns whether the error is of that kind: the path takes no such length (EMSGSIZE, EINVAL), or its device none at all (EIO).
   */
  refused(segment: number, errno: number): boolean {
    if (errno === Errno.EIO) this.maxSegment = 0;
    else if (errno === Errno.EMSGSIZE || errno === Errno.EINVAL)
      this.maxSegment = Math.min(this.maxSegment, segment - 1);
    else return false;
    this.untilRetry = RETRY_AFTER;
    return true;
  }

  /** One more datagram was sent alone; after many it is tried whether the path has changed. */
  sentAlone(): void {
    if (--this.untilRetry <= 0) this.maxSegment = Number.POSITIVE_INFINITY;
  }

  /** Is it the one whose sockaddr lies at `buf[off]` and that wrote to `local`, as `EndpointTable.intern` takes them? */
  isAt(buf: Uint8Array, off: number, local: number, localLength: number): boolean {
    const { sockaddr } = this;
    // Behind the port and address of IPv4 lie eight bytes that mean nothing.
    const used = buf[off] === AF_INET ? 8 : 28;
    if (sockaddr[0] !== buf[off]) return false;
    for (let i = 2; i < used; i++) if (sockaddr[i] !== buf[off + i]) return false;
    const known = this.local;
    if ((known === undefined ? 0 : known.length) !== localLength) return false;
    for (let i = 0; i < localLength; i++) if (known![i] !== buf[local + i]) return false;
    return true;
  }

  static of(endpoint: Endpoint): SocketEndpoint {
    if (endpoint instanceof SocketEndpoint) return endpoint;
    const { address, port, zone } = endpoint;
    const scope = zone === undefined ? 0 : scopeOf(zone);
    const made = new SocketEndpoint(address, port, encodeSockaddr(address, port, scope));
    made.zoneText = zone;
    return made;
  }
}

/**
 * A direct-mapped cache: forged senders replace each other in it and cost no memory. Those who have a session are not looked up here
 * but at their peer, or they would be forgotten, with what was learnt about the way to them, whenever another has their slot.
 */
export class EndpointTable {
  private readonly slots: (SocketEndpoint | undefined)[] = new Array(SLOTS).fill(undefined);

  /**
   * The endpoint whose sockaddr lies at `buf[off]`. One that writes to another address of ours is another: only what is authentic may
   * change where answers come from.
   * @param local where the pktinfo lies, of `localLength` bytes; 0: none
   */
  intern(buf: Uint8Array, off: number, local = 0, localLength = 0): SocketEndpoint {
    const size = buf[off] === AF_INET ? 16 : 28;
    const used = size === 16 ? 8 : 28;
    let hash = 0;
    for (let i = 2; i < used; i++) hash = (Math.imul(hash, 31) + buf[off + i]) | 0;
    for (let i = 0; i < localLength; i++) hash = (Math.imul(hash, 31) + buf[local + i]) | 0;
    const slot = (hash ^ (hash >>> 10)) & (SLOTS - 1);
    const known = this.slots[slot];
    if (known?.isAt(buf, off, local, localLength)) return known;
    const sockaddr = buf.slice(off, off + size);
    const address = sockaddr.slice(size === 16 ? 4 : 8, size === 16 ? 8 : 24);
    const made = new SocketEndpoint(address, (sockaddr[2] << 8) | sockaddr[3], sockaddr);
    if (localLength > 0) made.local = buf.slice(local, local + localLength);
    this.slots[slot] = made;
    return made;
  }
}

/** sin6_scope_id. */
function scopeAt(sockaddr: Uint8Array): number {
  const at = sockaddr.byteOffset + SCOPE_AT;
  return new DataView(sockaddr.buffer).getUint32(at, true);
}
