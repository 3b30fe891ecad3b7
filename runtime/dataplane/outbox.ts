/**
 * Outgoing datagrams, gathered so that those for one endpoint that have the same length (the last may be shorter) leave in one
 * system call (UDP_SEGMENT). They lie one behind the other: who makes a packet where `place` says has it there without a copy.
 */
import { Errno, type PacketIo } from "../native/packet-io";
import { TRANSPORT_HEADER_BYTES } from "../wireguard/constants";
import { OUTBOX, OUTBOX_END, PACKET_ROOM } from "./buffers";
import type { PacketKernels } from "./checksum";
import type { SocketEndpoint } from "./endpoint-table";
import type { UdpSocket } from "./port";

/** UDP_MAX_SEGMENTS of kernels before 6.9, and the largest UDP payload over IPv4. */
const MAX_SEGMENTS = 64;
const MAX_BYTES = 65507;
/** Behind a packet: padding and tag. */
const TRAILER = 64;
/** Milliseconds to wait for a full socket before datagrams are let go. */
const FULL_SOCKET_WAIT = 5;

/** Datagrams that a full socket, or an error, did not take. */
export interface SendDrops {
  queue: number;
  error: number;
}

export class Outbox {
  private socket: UdpSocket | undefined;
  private endpoint: SocketEndpoint | undefined;
  private drops: SendDrops = { queue: 0, error: 0 };
  private start = OUTBOX;
  private end = OUTBOX;
  private segment = 0;
  private count = 0;
  /** A shorter one was last: no other may follow. */
  private complete = false;

  constructor(
    private readonly io: PacketIo,
    private readonly kernels: PacketKernels,
  ) {}

  /** Where to make the next packet; valid until anything else is given to the outbox. Has room for PACKET_ROOM bytes. */
  place(): number {
    if (this.end + TRANSPORT_HEADER_BYTES + PACKET_ROOM + TRAILER > OUTBOX_END) this.flush();
    if (this.count === 0) this.start = this.end = OUTBOX;
    return this.end + TRANSPORT_HEADER_BYTES;
  }

  /** Copies a packet to where it can be sent from, unless it lies there. @returns its offset */
  bring(buf: Uint8Array, off: number, len: number): number {
    const at = this.place();
    if (buf.buffer !== this.io.bytes.buffer) this.io.bytes.set(buf.subarray(off, off + len), at);
    else if (buf.byteOffset + off !== at) this.kernels.copy(at, buf.byteOffset + off, len);
    return at;
  }

  /** Takes a datagram. @param drops where it is counted should it not leave */
  add(socket: UdpSocket, endpoint: SocketEndpoint, drops: SendDrops, buf: Uint8Array, off: number, len: number): void {
    const fits =
      this.count > 0 &&
      !this.complete &&
      this.count < MAX_SEGMENTS &&
      len <= this.segment &&
      this.end - this.start + len <= MAX_BYTES &&
      this.endpoint === endpoint &&
      this.socket === socket &&
      this.drops === drops &&
      this.segment <= endpoint.maxSegment;
    let at = buf.buffer === this.io.bytes.buffer ? buf.byteOffset + off : -1;
    if (at !== this.end) {
      if (!fits || this.end + len > OUTBOX_END) {
        this.flush();
        this.end = OUTBOX;
      }
      if (at < 0) this.io.bytes.set(buf.subarray(off, off + len), this.end);
      else this.kernels.copy(this.end, at, len);
      at = this.end;
    } else if (!fits) this.flush();
    if (this.count === 0) {
      if (len > endpoint.maxSegment) endpoint.sentAlone();
      this.start = at;
      this.segment = len;
      this.complete = false;
      this.socket = socket;
      this.endpoint = endpoint;
      this.drops = drops;
    } else if (len < this.segment) this.complete = true;
    this.end = at + len;
    this.count++;
  }

  /** Sends what waits. */
  flush(): void {
    const { count, socket, endpoint, start, segment, drops } = this;
    if (count === 0) return;
    const length = this.end - start;
    this.count = 0;
    if (socket === undefined || endpoint === undefined || !socket.open) {
      drops.error += count;
      return;
    }
    const sent = this.send(socket, endpoint, start, length, segment);
    if (sent >= 0) return;
    if (count > 1 && endpoint.refused(segment, -sent)) {
      // The kernel or the path takes no such segments: one by one it may split each into fragments.
      for (let at = start; at < start + length; at += segment) {
        const len = Math.min(segment, start + length - at);
        const alone = this.send(socket, endpoint, at, len, len);
        if (alone < 0) this.countDrops(drops, alone, 1);
      }
      return;
    }
    this.countDrops(drops, sent, count);
  }

  private countDrops(drops: SendDrops, result: number, count: number): void {
    if (result === -Errno.EAGAIN) drops.queue += count;
    else drops.error += count;
  }

  private send(socket: UdpSocket, endpoint: SocketEndpoint, at: number, len: number, segment: number): number {
    const { io } = this;
    const sent = io.send(socket.fd, at, len, endpoint.sockaddr, segment);
    if (sent !== -Errno.EAGAIN) return sent;
    io.waitWritable(socket.fd, FULL_SOCKET_WAIT);
    return io.send(socket.fd, at, len, endpoint.sockaddr, segment);
  }
}
