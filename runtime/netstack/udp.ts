/** UDP (RFC 768): sockets, and datagrams to any address for a transparent stack. */
import { addSum, checksum, PROTO_UDP, putU16, u16 } from "../dataplane/inet";
import { checkPort, familyOfBytes, sameBytes } from "./address";
import { freePort } from "./ephemeral-ports";
import { checksumHolds, type Host } from "./host";
import { NetworkError } from "./network-error";
import type { Endpoint, NetworkErrorCode } from "./options";
import type { IpPacket } from "./packet";
import { SentDatagrams } from "./sent-datagrams";

const HEADER = 8;
/** Payload bytes: what the length fields of IPv4 and UDP hold. */
const MAX_DATA = { 4: 65535 - 20 - HEADER, 6: 65535 - HEADER } as const;

/** A datagram whose bytes are valid during the call. */
export type DatagramHandler = (from: Endpoint, to: Endpoint, data: Uint8Array) => void;

export interface UdpHandler {
  onDatagram: DatagramHandler;
  /** An earlier datagram to `to` did not arrive (ICMP): ECONNREFUSED, EHOSTUNREACH, EMSGSIZE; EADDRNOTAVAIL: the address went. */
  onError?: (code: NetworkErrorCode, to: Endpoint | undefined) => void;
}

export interface UdpEndpoint {
  /** Its address is `0.0.0.0` where it has all of them. */
  readonly local: Endpoint;
  readonly remote: Endpoint | undefined;
  /** From here on only datagrams of this peer come in, and `send` needs no address. @throws WarrenError WARREN_INVALID_INPUT */
  connect(remote: Endpoint): void;
  /**
   * Sends a datagram, fragmented where it is longer than the path takes.
   * @returns false where the link had no room for it: it is lost, as datagrams may be
   * @throws NetworkError EMSGSIZE, EHOSTUNREACH, EADDRNOTAVAIL; WarrenError WARREN_INVALID_INPUT
   */
  send(data: Uint8Array, to?: Endpoint): boolean;
  close(): void;
}

interface Peer {
  readonly bytes: Uint8Array;
  readonly endpoint: Endpoint;
}

class Socket implements UdpEndpoint {
  peer: Peer | undefined;
  open = true;

  constructor(
    private readonly table: UdpTable,
    /** Undefined: any. */
    readonly address: Uint8Array | undefined,
    readonly local: Endpoint,
    readonly handler: UdpHandler,
  ) {}

  get remote(): Endpoint | undefined {
    return this.peer?.endpoint;
  }

  connect(remote: Endpoint): void {
    checkPort(remote.port, "port");
    this.peer = { bytes: this.table.host.texts.bytes(remote.address, "address"), endpoint: remote };
  }

  send(data: Uint8Array, to?: Endpoint): boolean {
    const target = to ?? this.peer?.endpoint;
    if (!this.open || target === undefined) throw new NetworkError("EADDRNOTAVAIL", "send", target);
    const { host } = this.table;
    const destination = to === undefined ? this.peer!.bytes : host.texts.bytes(target.address, "address");
    const source = this.address ?? host.sourceFor(destination);
    if (source === undefined || source.length !== destination.length)
      throw new NetworkError("EHOSTUNREACH", "send", target);
    return this.table.send(source, this.local.port, destination, checkPort(target.port, "port"), data, target);
  }

  close(): void {
    this.table.remove(this);
  }

  /** How well a datagram fits: -1 not at all; a connected socket goes before one with an address, that before one with none. */
  fit(packet: IpPacket, remotePort: number): number {
    const { buf, source, destination, family } = packet;
    let score = 0;
    if (this.address !== undefined) {
      if (!sameAddress(this.address, buf, destination, family)) return -1;
      score = 1;
    }
    if (this.peer === undefined) return score;
    if (this.peer.endpoint.port !== remotePort || !sameAddress(this.peer.bytes, buf, source, family)) return -1;
    return score + 2;
  }
}

export class UdpTable {
  /** By port. */
  private readonly sockets = new Map<number, Socket[]>();
  private count = 0;
  private readonly sent: SentDatagrams;
  onDatagram: DatagramHandler | undefined;

  constructor(readonly host: Host) {
    this.sent = new SentDatagrams();
  }

  get size(): number {
    return this.count;
  }

  bind(local: Partial<Endpoint>, handler: UdpHandler): UdpEndpoint {
    const { host } = this;
    const address = local.address === undefined ? undefined : host.texts.bytes(local.address, "address");
    const wanted = local.port === undefined ? 0 : checkPort(local.port, "port", 0);
    const text = local.address ?? "0.0.0.0";
    if (address !== undefined && !host.transparent && !host.owns(address, 0, familyOfBytes(address)))
      throw new NetworkError("EADDRNOTAVAIL", "bind", { address: text, port: wanted });
    if (this.count >= host.limits.udpSockets)
      throw new NetworkError("ENOBUFS", "bind", { address: text, port: wanted });
    const port = wanted || freePort(host.random, (candidate) => this.taken(address, candidate));
    if (port === 0 || this.taken(address, port)) throw new NetworkError("EADDRINUSE", "bind", { address: text, port });
    const socket = new Socket(this, address, { address: text, port }, handler);
    const present = this.sockets.get(port);
    if (present === undefined) this.sockets.set(port, [socket]);
    else present.push(socket);
    this.count++;
    return socket;
  }

  remove(socket: Socket): void {
    if (!socket.open) return;
    socket.open = false;
    this.count--;
    const { port } = socket.local;
    const left = (this.sockets.get(port) ?? []).filter((other) => other !== socket);
    if (left.length === 0) this.sockets.delete(port);
    else this.sockets.set(port, left);
  }

  /** Ends the sockets whose address is none of ours any more. */
  addressesChanged(): void {
    for (const list of [...this.sockets.values()])
      for (const socket of list) {
        const { address } = socket;
        if (address === undefined || this.host.transparent) continue;
        if (this.host.owns(address, 0, familyOfBytes(address))) continue;
        this.remove(socket);
        socket.handler.onError?.("EADDRNOTAVAIL", undefined);
      }
  }

  close(): void {
    for (const list of this.sockets.values()) for (const socket of list) socket.open = false;
    this.sockets.clear();
    this.count = 0;
    this.onDatagram = undefined;
  }

  /**
   * Takes a packet of one datagram, or with `segment` above 0 of several with so many bytes each.
   * @returns whether anybody wanted it; where not, and it was whole, an error is due
   */
  input(packet: IpPacket, segment: number): boolean {
    const { host } = this;
    const { buf, transport, payload, family } = packet;
    const length = payload < HEADER ? 0 : u16(buf, transport + 4);
    if (length < HEADER || length > payload) {
      host.drops.malformed++;
      return true;
    }
    const remotePort = u16(buf, transport);
    const localPort = u16(buf, transport + 2);
    // Only over IPv4 a checksum of 0 says that there is none (RFC 8200 section 8.1).
    const unchecked = segment > 0 || (family === 4 && u16(buf, transport + 6) === 0);
    if (!unchecked && (u16(buf, transport + 6) === 0 || !checksumHolds(host, packet, PROTO_UDP, length))) {
      host.drops.checksum++;
      return true;
    }
    const socket = this.find(packet, localPort, remotePort);
    const handler = socket?.handler.onDatagram ?? (host.transparent ? this.onDatagram : undefined);
    if (handler === undefined || localPort === 0) {
      host.drops["no-socket"]++;
      return false;
    }
    const from = { address: host.texts.of(buf, packet.source, family), port: remotePort };
    const to = { address: host.texts.of(buf, packet.destination, family), port: localPort };
    const end = transport + length;
    const step = segment > 0 ? segment : length;
    let at = transport + HEADER;
    do {
      handler(from, to, buf.subarray(at, Math.min(at + step, end)));
      at += step;
    } while (at < end);
    return true;
  }

  /**
   * An ICMP error quotes a datagram of ours.
   * @param packet source and destination are those of the quoted datagram, `transport` its UDP header
   * @returns whether we sent such a datagram
   */
  icmpError(packet: IpPacket, code: NetworkErrorCode): boolean {
    const { buf, transport, family } = packet;
    const port = u16(buf, transport);
    const remotePort = u16(buf, transport + 2);
    if (code === "EMSGSIZE" && !this.sent.has(buf, transport, packet.destination, family)) return false;
    for (const socket of this.sockets.get(port) ?? []) {
      if (socket.address !== undefined && !sameAddress(socket.address, buf, packet.source, family)) continue;
      const { peer } = socket;
      if (peer !== undefined)
        if (peer.endpoint.port !== remotePort || !sameAddress(peer.bytes, buf, packet.destination, family)) continue;
      const address = this.host.texts.of(buf, packet.destination, family);
      socket.handler.onError?.(code, { address, port: remotePort });
      return true;
    }
    return code === "EMSGSIZE";
  }

  /** @throws NetworkError EMSGSIZE */
  send(
    source: Uint8Array,
    sourcePort: number,
    destination: Uint8Array,
    destinationPort: number,
    data: Uint8Array,
    target: Endpoint,
  ): boolean {
    const { transmitter } = this.host;
    if (data.length > MAX_DATA[familyOfBytes(source)]) throw new NetworkError("EMSGSIZE", "send", target);
    const { buf, off } = transmitter;
    const length = HEADER + data.length;
    putU16(buf, off, sourcePort);
    putU16(buf, off + 2, destinationPort);
    putU16(buf, off + 4, length);
    putU16(buf, off + 6, 0);
    buf.set(data, off + HEADER);
    const pseudo = addSum(addSum(PROTO_UDP + length, source, 0, source.length), destination, 0, destination.length);
    putU16(buf, off + 6, checksum(this.host.sum(pseudo, buf, off, length)) || 0xffff);
    this.sent.note(buf, off, length, destination);
    return transmitter.send(source, destination, PROTO_UDP, length);
  }

  private find(packet: IpPacket, localPort: number, remotePort: number): Socket | undefined {
    const list = this.sockets.get(localPort);
    if (list === undefined) return undefined;
    let best: Socket | undefined;
    let bestScore = -1;
    for (const socket of list) {
      const score = socket.fit(packet, remotePort);
      if (score > bestScore) {
        best = socket;
        bestScore = score;
      }
    }
    return best;
  }

  private taken(address: Uint8Array | undefined, port: number): boolean {
    for (const { address: other } of this.sockets.get(port) ?? [])
      if (address === undefined || other === undefined) {
        if (address === other) return true;
      } else if (address.length === other.length && sameBytes(address, 0, other, 0, address.length)) return true;
    return false;
  }
}

function sameAddress(address: Uint8Array, buf: Uint8Array, off: number, family: 4 | 6): boolean {
  return familyOfBytes(address) === family && sameBytes(address, 0, buf, off, address.length);
}
