/**
 * Outgoing datagrams, gathered so that those for one endpoint that have the same length (the last may be shorter) leave in one
 * system call (UDP_SEGMENT). They lie one behind the other: who makes a packet where `place` says has it there without a copy.
 */
import { Errno } from "../native/errno";
import { TRANSPORT_HEADER_BYTES } from "../wireguard/constants";
import type { SendCounts } from "./backlog";
import { OUTBOX, OUTBOX_END, OUTGOING, offsetIn, PACKET_ROOM } from "./buffers";
import type { PacketKernels } from "./checksum";
import type { SocketEndpoint } from "./endpoint-table";
import type { UdpSocket } from "./port";

/** UDP_MAX_SEGMENTS of kernels before 6.9, and the largest UDP payload over IPv4. */
const MAX_SEGMENTS = 64;
const MAX_BYTES = 65507;
/** Behind a packet: padding and tag. */
const TRAILER = 64;

export class Outbox {
  private socket: UdpSocket | undefined;
  private endpoint: SocketEndpoint | undefined;
  private counts: SendCounts = { queue: 0, error: 0, refused: 0 };
  private start = OUTBOX;
  private end = OUTBOX;
  private segment = 0;
  private count = 0;
  /** A shorter one was last: no other may follow. */
  private complete = false;

  constructor(
    private readonly bytes: Uint8Array,
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
    const from = offsetIn(this.bytes, buf, off);
    if (from < 0) this.bytes.set(buf.subarray(off, off + len), at);
    else if (from !== at) this.kernels.copy(at, from, len);
    return at;
  }

  /** Takes a datagram. @param counts where it is counted should it not leave */
  add(
    socket: UdpSocket,
    endpoint: SocketEndpoint,
    counts: SendCounts,
    buf: Uint8Array,
    off: number,
    len: number,
  ): void {
    const fits =
      this.count > 0 &&
      !this.complete &&
      this.count < MAX_SEGMENTS &&
      len <= this.segment &&
      this.end - this.start + len <= MAX_BYTES &&
      this.endpoint === endpoint &&
      this.socket === socket &&
      this.counts === counts &&
      this.segment <= endpoint.maxSegment;
    let at = offsetIn(this.bytes, buf, off);
    if (at !== this.end) {
      if (!fits || this.end + len > OUTBOX_END) {
        this.flush();
        this.end = OUTBOX;
      }
      if (at < 0) this.bytes.set(buf.subarray(off, off + len), this.end);
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
      this.counts = counts;
    } else if (len < this.segment) this.complete = true;
    this.end = at + len;
    this.count++;
  }

  /** Sends what waits. */
  flush(): void {
    const { count, socket, endpoint, start, segment, counts } = this;
    if (count === 0) return;
    const length = this.end - start;
    this.count = 0;
    if (socket === undefined || endpoint === undefined || !socket.open) {
      counts.error += count;
      return;
    }
    if (!socket.backlog.empty) this.wait(socket, endpoint, counts, start, length, segment);
    else this.dispatch(socket, endpoint, counts, start, length, segment);
  }

  /** Sends what a socket did not take before; when it takes datagrams again. */
  resume(socket: UdpSocket): void {
    const { backlog } = socket;
    while (!backlog.empty && socket.open) {
      const { length, segment, endpoint, sender } = backlog;
      const size = segment > endpoint.maxSegment ? Math.min(segment, length) : length;
      backlog.copyTo(this.bytes, OUTGOING, size);
      const sent = socket.send(OUTGOING, size, endpoint, segment);
      if (sent === -Errno.EAGAIN) return;
      if (sent >= 0) {
        backlog.take(sent);
        if (sent < size) return;
      } else if (size > segment && endpoint.refused(segment, -sent)) sender.refused += Math.ceil(size / segment);
      else {
        sender.error += Math.ceil(size / segment);
        backlog.take(size);
      }
    }
  }

  private dispatch(
    socket: UdpSocket,
    endpoint: SocketEndpoint,
    counts: SendCounts,
    start: number,
    length: number,
    segment: number,
  ): void {
    const sent = socket.send(start, length, endpoint, segment);
    if (sent >= length) return;
    if (sent >= 0) this.wait(socket, endpoint, counts, start + sent, length - sent, segment);
    else if (sent === -Errno.EAGAIN) this.wait(socket, endpoint, counts, start, length, segment);
    else this.refused(sent, socket, endpoint, counts, start, length, segment);
  }

  private refused(
    errno: number,
    socket: UdpSocket,
    endpoint: SocketEndpoint,
    counts: SendCounts,
    start: number,
    length: number,
    segment: number,
  ): void {
    const count = Math.ceil(length / segment);
    if (length <= segment || !endpoint.refused(segment, -errno)) {
      counts.error += count;
      return;
    }
    counts.refused += count;
    // The kernel or the path takes no such segments: one by one it may split each into fragments.
    for (let at = start; at < start + length; at += segment) {
      const len = Math.min(segment, start + length - at);
      const alone = socket.backlog.empty ? socket.send(at, len, endpoint, len) : -Errno.EAGAIN;
      if (alone === -Errno.EAGAIN) this.wait(socket, endpoint, counts, at, len, len);
      else if (alone < 0) counts.error++;
    }
  }

  private wait(
    socket: UdpSocket,
    endpoint: SocketEndpoint,
    counts: SendCounts,
    start: number,
    length: number,
    segment: number,
  ): void {
    socket.backlog.add(this.bytes, start, length, segment, endpoint, counts);
  }
}
