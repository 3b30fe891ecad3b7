/**
 * A TCP/IP host: IPv4 and IPv6, ICMP, UDP and TCP. Pure: packets and a clock in, packets and calls out. It neither routes nor
 * resolves names; one link takes all its packets.
 */
import { WarrenError } from "../errors";
import type { Drops } from "./drops";
import { newDrops } from "./drops";
import type { EchoHandler, PingHandle, PingHandler, RejectReason } from "./icmp";
import type { Endpoint, StackOptions } from "./options";
import type { TcpLayer } from "./tcp/types";
import type { DatagramHandler, UdpEndpoint, UdpHandler } from "./udp";

function missing(): never {
  throw new WarrenError("WARREN_UNSUPPORTED", "This part of the network stack is under construction today.");
}

export class Stack {
  /** Packets in and out, and those that went no further, by reason. */
  readonly counters: { rx: number; tx: number; readonly drops: Drops } = { rx: 0, tx: 0, drops: newDrops() };
  /**
   * With `transparent`: datagrams that no socket has, to whatever address; answers go through `sendDatagram`.
   * Absent: they are refused (port unreachable).
   */
  onDatagram: DatagramHandler | undefined;
  /** With `transparent`: echo requests to addresses that are not ours. Absent: dropped. */
  onEcho: EchoHandler | undefined;

  /** @throws WarrenError WARREN_INVALID_INPUT */
  constructor(readonly options: StackOptions) {}

  /** TCP; runtime/netstack/streams.ts makes Node's streams of it. */
  get tcp(): TcpLayer {
    return missing();
  }

  /** Connections and sockets of an address that goes end with EADDRNOTAVAIL. @throws WarrenError WARREN_INVALID_INPUT */
  setAddresses(_addresses: readonly string[]): void {
    missing();
  }

  get addresses(): readonly string[] {
    return missing();
  }

  /** A packet for us, valid during the call; the same meaning as `PacketPipe.onPacket`. */
  input(_buf: Uint8Array, _off: number, _len: number, _segment: number): void {
    missing();
  }

  /** After a round of packets: what can be answered at once for several of them is answered now. */
  roundEnd(): void {
    missing();
  }

  /** The link has room again after `output` was refused. */
  drained(): void {
    missing();
  }

  /** When `tick` has to be called, by the stack's clock; Infinity: never. */
  nextTimer(): number {
    return missing();
  }

  tick(): void {
    missing();
  }

  /**
   * Opens a UDP socket.
   * @param local.address default: all of ours, and with `transparent` any
   * @param local.port 0 or absent: a free one, unpredictable
   * @throws WarrenError WARREN_INVALID_INPUT; NetworkError EADDRINUSE, EADDRNOTAVAIL, ENOBUFS
   */
  bindUdp(_local: Partial<Endpoint>, _handler: UdpHandler): UdpEndpoint {
    return missing();
  }

  /**
   * Sends a datagram that no socket stands for; with `transparent`, `from` may be any address.
   * @param data up to 65507 bytes (65527 over IPv6), fragmented where it is longer than the path takes.
   * @returns false where the link had no room for it or has no source of the family: it is lost, as datagrams may be
   */
  sendDatagram(_from: Endpoint, _to: Endpoint, _data: Uint8Array): boolean {
    return missing();
  }

  /** Tells the sender of a datagram that came `from` there `to` here that it cannot be delivered (ICMP unreachable). */
  rejectDatagram(_from: Endpoint, _to: Endpoint, _reason: RejectReason): void {
    missing();
  }

  /**
   * Sends an echo request.
   * @param options.timeout milliseconds @default 5000
   * @param options.payload bytes @default 56
   */
  ping(
    _to: string,
    _handler: PingHandler,
    _options?: { timeout?: number; payload?: number; from?: string },
  ): PingHandle {
    return missing();
  }

  /** Ends every connection with a reset and every socket without a word; nothing may be called afterwards. */
  close(): void {
    missing();
  }
}
