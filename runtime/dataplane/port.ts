/** A UDP port: its sockets, one for each address it listens on, and the WireGuard devices behind it. */
import { randomBytes } from "node:crypto";
import ipaddr from "ipaddr.js";
import { Errno, errnoName } from "../native/errno";
import type { PacketIo } from "../native/packet-io";
import { DevicePort } from "../wireguard/device-port";
import type { Endpoint } from "../wireguard/types";
import { Backlog, type SendCounts } from "./backlog";
import { PACKET_ROOM, RECEPTIONS, reception } from "./buffers";
import type { PortConfig } from "./config";
import { EndpointTable, SocketEndpoint } from "./endpoint-table";
import type { Source } from "./engine";
import type { Outbox } from "./outbox";

export interface UdpSocket {
  readonly family: 4 | 6;
  readonly open: boolean;
  /** What it did not take. */
  readonly backlog: Backlog;
  /**
   * Sends a datagram of the data plane's memory, or with `segment` below `len` several of that length (the last may be shorter).
   * @returns bytes that it took; or a negative errno: EAGAIN where it takes nothing now.
   */
  send(off: number, len: number, endpoint: SocketEndpoint, segment: number): number;
}

export interface UdpPort {
  readonly id: string;
  readonly devices: DevicePort;
  /** The UDP port in use; 0: none. */
  readonly number: number;
  /** Outgoing datagrams that a full socket, or an error, did not take, and incoming ones that were cut off or found no room. */
  readonly drops: Readonly<Record<string, number>>;
  /** Outgoing ones that the system did not take several at once, and then one by one. */
  readonly refused: number;
  /** Listens as configured; where that fails the present sockets stay. @returns what went wrong, as a sentence. */
  bind(config: PortConfig): string | undefined;
  /** Takes a datagram of one of the devices; the outbox sends it. */
  send(buf: Uint8Array, off: number, len: number, to: Endpoint): void;
  close(): void;
}

/** A socket that a poll waits for. */
export class NativeSocket implements UdpSocket, Source {
  open = true;
  readonly backlog = new Backlog();

  constructor(
    private readonly io: PacketIo,
    private readonly port: NativePort,
    readonly fd: number,
    readonly family: 4 | 6,
  ) {}

  send(off: number, len: number, endpoint: SocketEndpoint, segment: number): number {
    const { local } = endpoint;
    const sent = this.io.send(this.fd, off, len, endpoint.sockaddr, segment, local);
    if (sent >= 0 || sent === -Errno.EAGAIN || (!endpoint.findZone() && local === undefined)) return sent;
    // The address may have gone, or its device: then from where the routes say.
    const again = this.io.send(this.fd, off, len, endpoint.sockaddr, segment);
    if (again >= 0) endpoint.local = undefined;
    return again;
  }

  receive(): void {
    this.port.receive(this);
  }

  close(): void {
    this.open = false;
    this.backlog.clear();
    this.io.close(this.fd);
  }
}

/** Attempts to find one free port for both families when any will do. */
const ANY_PORT_ATTEMPTS = 20;

/** A port on sockets that a poll waits for. */
export class NativePort implements UdpPort {
  readonly id: string;
  readonly devices = new DevicePort({ random: randomBytes });
  sockets: readonly NativeSocket[] = [];
  number = 0;
  private readonly sent: SendCounts = { queue: 0, error: 0, refused: 0 };
  private truncated = 0;
  private bound = "";
  private mark = 0;
  private readonly endpoints = new EndpointTable();

  constructor(
    private readonly io: PacketIo,
    private readonly outbox: Outbox,
    config: PortConfig,
  ) {
    this.id = config.id;
  }

  get drops(): Readonly<Record<string, number>> {
    const { queue, error } = this.sent;
    return { queue, error, truncated: this.truncated };
  }

  get refused(): number {
    return this.sent.refused;
  }

  bind(config: PortConfig): string | undefined {
    const wanted = JSON.stringify([config.listen, config.port]);
    if (wanted === this.bound) return this.setMark(config);
    if (config.listen.length === 0) {
      this.close();
      this.bound = wanted;
      return undefined;
    }
    const addresses = config.listen.map((text) => Uint8Array.from(ipaddr.parse(text).toByteArray()));
    // A port that is kept is in our own hands: to add an address on it the old sockets must go first.
    const kept = config.port !== 0 && config.port === this.number;
    if (kept) this.close();
    for (let attempt = 0; ; attempt++) {
      const opened = this.openAll(addresses, config.port);
      if (typeof opened !== "string") {
        this.close();
        this.sockets = opened.sockets;
        this.number = opened.port;
        this.bound = wanted;
        this.mark = 0;
        return this.setMark(config);
      }
      if (config.port !== 0 || attempt >= ANY_PORT_ATTEMPTS) return opened;
    }
  }

  private setMark({ fwmark = 0 }: PortConfig): string | undefined {
    if (fwmark === this.mark) return undefined;
    for (const { fd } of this.sockets) {
      const set = this.io.setMark(fd, fwmark);
      if (set < 0) return `Mark ${fwmark} cannot be set on UDP port ${this.number} (${errnoName(set)}).`;
    }
    this.mark = fwmark;
    return undefined;
  }

  private openAll(addresses: readonly Uint8Array[], port: number): { sockets: NativeSocket[]; port: number } | string {
    const sockets: NativeSocket[] = [];
    let chosen = port;
    let missing = "";
    const abandon = (): void => {
      for (const socket of sockets) socket.close();
    };
    for (const address of addresses) {
      const fd = this.io.openUdp(address, chosen);
      const host = ipaddr.fromByteArray(Array.from(address)).toString();
      if (fd < 0) {
        // A machine without IPv6 still serves IPv4.
        if (address.length === 16 && (fd === -Errno.EAFNOSUPPORT || fd === -Errno.EADDRNOTAVAIL)) {
          missing = `${host}: ${errnoName(fd)}`;
          continue;
        }
        abandon();
        if (fd === -Errno.EADDRINUSE)
          return `UDP port ${chosen} on ${host} is in use by another program: stop it, or choose another port; it is tried again.`;
        return `UDP port ${chosen} on ${host} cannot be opened (${errnoName(fd)}).`;
      }
      sockets.push(new NativeSocket(this.io, this, fd, address.length === 4 ? 4 : 6));
      if (chosen === 0) {
        chosen = this.io.localPort(fd);
        if (chosen < 0) {
          abandon();
          return `The UDP port on ${host} cannot be read (${errnoName(chosen)}).`;
        }
      }
    }
    if (sockets.length === 0) return `No UDP socket could be opened (${missing || "no address to listen on"}).`;
    return { sockets, port: chosen };
  }

  send(buf: Uint8Array, off: number, len: number, to: Endpoint): void {
    const endpoint = SocketEndpoint.of(to);
    let { socket } = endpoint;
    if (socket === undefined || !socket.open || !this.sockets.includes(socket as NativeSocket)) {
      socket = this.sockets.find((s) => s.family === endpoint.family);
      if (socket === undefined) {
        this.sent.error++;
        return;
      }
      endpoint.socket = socket;
    }
    this.outbox.add(socket, endpoint, this.sent, buf, off, len);
  }

  /** Sends what waits for the socket, and hands datagrams to the devices, a bounded number; they stay where they are until the next call. */
  receive(socket: NativeSocket): void {
    const { io } = this;
    if (!socket.backlog.empty) this.outbox.resume(socket);
    for (let i = 0; i < RECEPTIONS && socket.open; i++) {
      const start = reception(i);
      const len = io.receive(socket.fd, start, PACKET_ROOM);
      if (len < 0) return;
      if (io.truncated) {
        this.truncated++;
        continue;
      }
      const from = this.senderOf(start, len);
      from.socket = socket;
      const { segment } = io;
      if (len === 0) this.devices.receive(io.bytes, start, 0, from);
      for (let at = 0; at < len; at += segment)
        this.devices.receive(io.bytes, start + at, Math.min(segment, len - at), from);
    }
  }

  /** Who sent what was just received. */
  private senderOf(start: number, len: number): SocketEndpoint {
    const { bytes, sourceOffset, localOffset, localLength } = this.io;
    const expected = this.devices.expectedFrom(bytes, start, len);
    if (expected instanceof SocketEndpoint && expected.isAt(bytes, sourceOffset, localOffset, localLength))
      return expected;
    return this.endpoints.intern(bytes, sourceOffset, localOffset, localLength);
  }

  close(): void {
    this.outbox.flush();
    for (const socket of this.sockets) socket.close();
    this.sockets = [];
    this.number = 0;
    this.bound = "";
  }
}
