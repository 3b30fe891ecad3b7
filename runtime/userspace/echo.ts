/**
 * ICMP echo outside the network through the kernel's unprivileged ping sockets (Linux, net.ipv4.ping_group_range), or where the machine
 * gives none, through raw sockets, which root has. Where there is neither, apps are told that echo is prohibited.
 */
import * as dgram from "node:dgram";
import { closeSync } from "node:fs";
import * as net from "node:net";
import { AF_INET, AF_INET6, type Libc, libcIfAny } from "../native/libc";
import { RawEcho } from "./raw-echo";

const SOCK_DGRAM = 2;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ECHO_REPLY = { 4: 0, 6: 129 } as const;
/** Milliseconds that a reply may take. */
const WAIT = 10_000;
const MAX_WAITING = 1024;
const HEADER = 8;

type Family = 4 | 6;

interface EchoTransport {
  /** @param message an echo request; identifier and checksum are filled in on the way. Lost where it cannot go. */
  send(message: Buffer, address: string): void;
  close(): void;
}

/** Requests are told apart by their sequence number: the kernel has one identifier for the socket. */
export class EchoSocket {
  private readonly sockets: Partial<Record<Family, EchoTransport>> = {};
  private readonly waiting = new Map<string, { answer: (data: Uint8Array) => void; until: number }>();
  private sequence = 0;
  /** Requests that found too many waiting. */
  refused = 0;

  /** @returns undefined where this machine has no such sockets. */
  static open(): EchoSocket | undefined {
    const socket = new EchoSocket();
    return socket.sockets[4] || socket.sockets[6] ? socket : undefined;
  }

  private constructor() {
    const libc = libcIfAny();
    if (!libc) return;
    for (const family of [4, 6] as const) {
      const hear = (message: Buffer, address: string) => this.receive(family, address, message);
      const opened = pingSocket(family, libc, hear) ?? RawEcho.open(family, libc, hear);
      if (opened) this.sockets[family] = opened;
    }
  }

  handles(address: string): boolean {
    return this.sockets[net.isIPv6(address) ? 6 : 4] !== undefined;
  }

  /** @param answer called at most once, with the reply's data. */
  send(address: string, data: Uint8Array, answer: (data: Uint8Array) => void): void {
    const family: Family = net.isIPv6(address) ? 6 : 4;
    this.expire();
    if (this.waiting.size >= MAX_WAITING) {
      this.refused++;
      return;
    }
    this.sequence = (this.sequence + 1) & 0xffff;
    const message = Buffer.alloc(HEADER + data.length);
    message[0] = ECHO_REQUEST[family];
    message.writeUInt16BE(this.sequence, 6);
    message.set(data, HEADER);
    this.waiting.set(`${address} ${this.sequence}`, { answer, until: performance.now() + WAIT });
    this.sockets[family]?.send(message, address);
  }

  close(): void {
    this.sockets[4]?.close();
    this.sockets[6]?.close();
    this.waiting.clear();
  }

  private receive(family: Family, address: string, message: Buffer): void {
    if (message.length < HEADER || message[0] !== ECHO_REPLY[family]) return;
    const key = `${address} ${message.readUInt16BE(6)}`;
    const waiting = this.waiting.get(key);
    this.waiting.delete(key);
    waiting?.answer(message.subarray(HEADER));
  }

  private expire(): void {
    const now = performance.now();
    for (const [key, { until }] of this.waiting) {
      if (until > now) return;
      this.waiting.delete(key);
    }
  }
}

function pingSocket(
  family: Family,
  libc: Libc,
  onMessage: (message: Buffer, address: string) => void,
): EchoTransport | undefined {
  let fd: number | undefined;
  try {
    fd =
      family === 4
        ? libc.socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP, true)
        : libc.socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, true);
    const socket = dgram.createSocket(family === 4 ? "udp4" : "udp6");
    socket.bind({ fd });
    socket.on("message", (message, { address }) => onMessage(message, address));
    // A host that cannot be reached is one that does not answer.
    socket.on("error", () => undefined);
    socket.unref();
    return {
      // The kernel takes no notice of the port, which Node wants.
      send: (message, address) => socket.send(message, 1, address, () => undefined),
      close: () => void socket.close(),
    };
  } catch {
    // Not in ping_group_range, or no such family.
    if (fd !== undefined) closeSync(fd);
    return undefined;
  }
}
