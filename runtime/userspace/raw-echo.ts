/**
 * ICMP echo through raw sockets (raw(7)), for a daemon that may have them (root, CAP_NET_RAW) on a machine that gives nobody ping sockets.
 * Node waits for no such descriptor: they are looked at by a timer, while a reply is waited for and no longer.
 */
import { closeSync } from "node:fs";
import { addSum, checksum } from "../dataplane/inet";
import { AF_INET, AF_INET6, inetAddress, type Libc, SOCK_RAW } from "../native/libc";

const PROTOCOL = { 4: 1, 6: 58 } as const;
/** Milliseconds between looks: what a reply is late by. */
const POLL = 2;
/** Milliseconds that a destination's socket stays after its last request. */
const LIFE = 10_000;
/** Destinations at once: more wait for their turn in vain. */
const MAX_DESTINATIONS = 256;
const MAX_PACKET = 65_535;

/** Connected, so that it hears one host only. */
interface Destination {
  readonly fd: number;
  until: number;
}

export class RawEcho {
  private readonly destinations = new Map<string, Destination>();
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly family: 4 | 6,
    private readonly libc: Libc,
    private readonly onMessage: (message: Buffer, address: string) => void,
    /** Tells our replies from those to others on this machine. */
    private readonly identifier = 1 + Math.floor(Math.random() * 0xffff),
  ) {}

  /** @returns undefined where this process may have no such sockets. */
  static open(family: 4 | 6, libc: Libc, onMessage: (message: Buffer, address: string) => void): RawEcho | undefined {
    try {
      closeSync(libc.socket(family === 4 ? AF_INET : AF_INET6, SOCK_RAW, PROTOCOL[family], true));
    } catch {
      return undefined;
    }
    return new RawEcho(family, libc, onMessage);
  }

  /** @param message an echo request without identifier and checksum. Lost where it cannot go. */
  send(message: Buffer, address: string): void {
    message.writeUInt16BE(this.identifier, 4);
    // The kernel does it for ICMPv6 (RFC 3542 section 3.1).
    if (this.family === 4) message.writeUInt16BE(checksum(addSum(0, message, 0, message.length)), 2);
    try {
      const destination = this.destination(address);
      if (destination) this.libc.send(destination.fd, message);
    } catch {
      // No way there, or no descriptor is left.
    }
  }

  close(): void {
    clearTimeout(this.timer);
    for (const address of [...this.destinations.keys()]) this.forget(address);
  }

  private destination(address: string): Destination | undefined {
    const until = performance.now() + LIFE;
    const known = this.destinations.get(address);
    if (known) {
      known.until = until;
      return known;
    }
    if (this.destinations.size >= MAX_DESTINATIONS) return undefined;
    const fd = this.libc.socket(this.family === 4 ? AF_INET : AF_INET6, SOCK_RAW, PROTOCOL[this.family], true);
    const made = { fd, until };
    this.destinations.set(address, made);
    try {
      this.libc.connect(fd, inetAddress(address, 0));
    } catch (error) {
      this.forget(address);
      throw error;
    }
    this.timer ??= setTimeout(() => this.look(), POLL).unref();
    return made;
  }

  private look(): void {
    const now = performance.now();
    for (const [address, destination] of this.destinations) {
      this.drain(address, destination);
      if (destination.until < now) this.forget(address);
    }
    this.timer = this.destinations.size > 0 ? setTimeout(() => this.look(), POLL).unref() : undefined;
  }

  private drain(address: string, { fd }: Destination): void {
    for (;;) {
      let packet: Buffer | undefined;
      try {
        packet = this.libc.receive(fd, MAX_PACKET);
      } catch {
        // An ICMP error that came for it: the host does not answer.
      }
      if (packet === undefined) return;
      // IPv4 comes with its header.
      const message = this.family === 4 ? packet.subarray((packet[0]! & 15) * 4) : packet;
      if (message.length >= 8 && message.readUInt16BE(4) === this.identifier) this.onMessage(message, address);
    }
  }

  private forget(address: string): void {
    const destination = this.destinations.get(address);
    this.destinations.delete(address);
    if (destination) closeSync(destination.fd);
  }
}
