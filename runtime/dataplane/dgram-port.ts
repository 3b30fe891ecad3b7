/** A UDP port of the portable data plane: its sockets are opened ahead of `bind`, for the event loop opens none within a call. */
import { randomBytes } from "node:crypto";
import ipaddr from "ipaddr.js";
import { encodeSockaddr } from "../native/packet-io";
import { DevicePort } from "../wireguard/device-port";
import type { Endpoint } from "../wireguard/types";
import type { SendCounts } from "./backlog";
import { RECEPTION_BYTES, RECEPTIONS_START } from "./buffers";
import type { PortConfig } from "./config";
import { DgramSocket } from "./dgram-socket";
import { SocketEndpoint } from "./endpoint-table";
import type { Source } from "./engine";
import type { Outbox } from "./outbox";
import type { UdpPort } from "./port";

/** Room before and behind each datagram. */
const MARGIN = 128;
/** Senders that are remembered; forged ones cost no more memory than this. */
const MAX_ENDPOINTS = 1024;
/** Attempts to find one free port for both families when any will do. */
const ANY_PORT_ATTEMPTS = 20;

/** What the ports of one plane share: where received datagrams lie until the end of the round. */
export class Receptions {
  private next = RECEPTIONS_START;

  constructor(
    readonly bytes: Uint8Array,
    /** Lets a source's packet be taken. */
    readonly take: (source: Source) => void,
    /** Ends the round early, where there is no room for another datagram. */
    readonly flush: () => void,
    readonly outbox: Outbox,
  ) {}

  /** @returns where the datagram was put */
  keep(message: Uint8Array): number {
    if (this.next + message.length + 2 * MARGIN > RECEPTIONS_START + RECEPTION_BYTES) this.flush();
    const at = this.next + MARGIN;
    this.bytes.set(message, at);
    this.next = (at + message.length + MARGIN + 15) & ~15;
    return at;
  }

  /** After a round: nothing of what was received is used any more. */
  reset(): void {
    this.next = RECEPTIONS_START;
  }
}

interface Opened {
  readonly wanted: string;
  readonly sockets: DgramSocket[];
  readonly port: number;
}

export class DgramPort implements UdpPort, Source {
  readonly id: string;
  readonly devices = new DevicePort({ random: randomBytes });
  number = 0;
  /** Here each leaves in a call of its own. */
  readonly refused = 0;
  private readonly sent: SendCounts = { queue: 0, error: 0, refused: 0 };
  private sockets: readonly DgramSocket[] = [];
  private bound = "";
  private opened: Opened | string | undefined;
  private readonly endpoints = new Map<string, SocketEndpoint>();
  /** The datagram that `receive` is to take. */
  private at = 0;
  private length = 0;
  private from: SocketEndpoint | undefined;

  constructor(
    private readonly receptions: Receptions,
    id: string,
  ) {
    this.id = id;
  }

  /** Opens what `bind` with the same configuration will take over. */
  async prepare(config: PortConfig): Promise<void> {
    const wanted = JSON.stringify([config.listen, config.port]);
    if (wanted === this.bound || config.listen.length === 0) return;
    // A port that is kept is in our own hands: to add an address on it the old sockets must go first.
    if (config.port !== 0 && config.port === this.number) this.close();
    const hosts = config.listen.map((text) => ipaddr.parse(text).toString());
    for (let attempt = 0; ; attempt++) {
      this.opened = await this.openAll(wanted, hosts, config.port);
      if (typeof this.opened !== "string" || config.port !== 0 || attempt >= ANY_PORT_ATTEMPTS) return;
    }
  }

  private async openAll(wanted: string, hosts: readonly string[], port: number): Promise<Opened | string> {
    const sockets: DgramSocket[] = [];
    let chosen = port;
    let missing = "";
    for (const host of hosts) {
      try {
        const socket = await DgramSocket.bind(this.receptions.bytes, host, chosen, (...args) => this.arrived(...args));
        sockets.push(socket);
        socket.counts = this.sent;
        socket.onWritable = () => this.receptions.outbox.resume(socket);
        if (chosen === 0) chosen = socket.port;
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
        // A machine without IPv6 still serves IPv4.
        if (host.includes(":") && (code === "EAFNOSUPPORT" || code === "EADDRNOTAVAIL")) {
          missing = `${host}: ${code}`;
          continue;
        }
        for (const socket of sockets) socket.close();
        return code === "EADDRINUSE"
          ? `UDP port ${chosen} on ${host} is in use by another program: stop it, or choose another port; it is tried again.`
          : `UDP port ${chosen} on ${host} cannot be opened (${code}).`;
      }
    }
    if (sockets.length === 0) return `No UDP socket could be opened (${missing || "no address to listen on"}).`;
    return { wanted, sockets, port: chosen };
  }

  get drops(): Readonly<Record<string, number>> {
    const { queue, error } = this.sent;
    return { queue, error };
  }

  bind(config: PortConfig): string | undefined {
    const wanted = JSON.stringify([config.listen, config.port]);
    const { opened } = this;
    this.opened = undefined;
    if (wanted !== this.bound) {
      if (typeof opened === "string") return opened;
      this.close();
      if (opened !== undefined && opened.wanted === wanted) {
        this.sockets = opened.sockets;
        this.number = opened.port;
      }
      this.bound = wanted;
    }
    return config.fwmark ? "A mark on datagrams (FwMark) needs the native data plane of Linux." : undefined;
  }

  send(buf: Uint8Array, off: number, len: number, to: Endpoint): void {
    const endpoint = SocketEndpoint.of(to);
    let socket = endpoint.socket as DgramSocket | undefined;
    if (socket === undefined || !socket.open || !this.sockets.includes(socket)) {
      socket = this.sockets.find((s) => s.family === endpoint.family);
      if (socket === undefined) {
        this.sent.error++;
        return;
      }
      endpoint.socket = socket;
    }
    this.receptions.outbox.add(socket, endpoint, this.sent, buf, off, len);
  }

  private arrived(socket: DgramSocket, message: Uint8Array, host: string, port: number): void {
    if (!socket.open || !this.sockets.includes(socket)) return;
    this.from = this.endpointOf(host, port);
    this.from.socket = socket;
    this.length = message.length;
    this.at = this.receptions.keep(message);
    this.receptions.take(this);
  }

  receive(): void {
    this.devices.receive(this.receptions.bytes, this.at, this.length, this.from!);
  }

  private endpointOf(host: string, port: number): SocketEndpoint {
    if (this.from !== undefined && this.from.port === port && this.from.host === host) return this.from;
    const key = `${host} ${port}`;
    const known = this.endpoints.get(key);
    if (known !== undefined) return known;
    const zone = host.indexOf("%");
    const address = Uint8Array.from(ipaddr.parse(zone < 0 ? host : host.slice(0, zone)).toByteArray());
    const made = new SocketEndpoint(address, port, encodeSockaddr(address, port), host);
    if (this.endpoints.size >= MAX_ENDPOINTS) this.endpoints.clear();
    this.endpoints.set(key, made);
    return made;
  }

  close(): void {
    this.receptions.outbox.flush();
    for (const socket of this.sockets) socket.close();
    this.sockets = [];
    this.number = 0;
    this.bound = "";
  }
}
