/**
 * Outgoing datagrams, gathered so that those for one endpoint that have the same length (the last may be shorter) leave in one
 * system call (UDP_SEGMENT). They lie one behind the other: who makes a packet where `place` says has it there without a copy.
 */
import { Errno } from "../native/packet-io";
import { TRANSPORT_HEADER_BYTES } from "../wireguard/constants";
import { OUTBOX, OUTBOX_END, OUTGOING, PACKET_ROOM } from "./buffers";
import type { PacketKernels } from "./checksum";
import type { SocketEndpoint } from "./endpoint-table";
import type { UdpSocket } from "./port";

/** UDP_MAX_SEGMENTS of kernels before 6.9, and the largest UDP payload over IPv4. */
const MAX_SEGMENTS = 64;
const MAX_BYTES = 65507;
/** Behind a packet: padding and tag. */
const TRAILER = 64;
/** Bytes that wait for a full socket before the oldest are let go. */
const MAX_BACKLOG = 1 << 20;

/** Datagrams that a full socket, or an error, did not take. */
export interface SendDrops {
  queue: number;
  error: number;
}

interface Train {
  readonly bytes: Uint8Array;
  readonly endpoint: SocketEndpoint;
  readonly segment: number;
  readonly drops: SendDrops;
}

/** Datagrams that wait for a full socket, the oldest first: others go on meanwhile. */
export class Backlog {
  private readonly trains: Train[] = [];
  private size = 0;

  get empty(): boolean {
    return this.trains.length === 0;
  }

  get oldest(): Train | undefined {
    return this.trains[0];
  }

  add(train: Train): void {
    while (this.size + train.bytes.length > MAX_BACKLOG) {
      const old = this.shift()!;
      old.drops.queue += Math.ceil(old.bytes.length / old.segment);
    }
    this.trains.push(train);
    this.size += train.bytes.length;
  }

  shift(): Train | undefined {
    const train = this.trains.shift();
    this.size -= train?.bytes.length ?? 0;
    return train;
  }

  /** The oldest without its first bytes. */
  shorten(bytes: number): void {
    const [first] = this.trains;
    this.trains[0] = { ...first, bytes: first.bytes.subarray(bytes) };
    this.size -= bytes;
  }
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
    if (buf.buffer !== this.bytes.buffer) this.bytes.set(buf.subarray(off, off + len), at);
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
    let at = buf.buffer === this.bytes.buffer ? buf.byteOffset + off : -1;
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
    if (!socket.backlog.empty) this.wait(socket, endpoint, drops, start, length, segment);
    else this.dispatch(socket, endpoint, drops, start, length, segment);
  }

  /** Sends what a socket did not take before; when it takes datagrams again. */
  resume(socket: UdpSocket): void {
    const { backlog } = socket;
    for (let train = backlog.oldest; train !== undefined && socket.open; train = backlog.oldest) {
      const { bytes, endpoint, segment, drops } = train;
      this.bytes.set(bytes, OUTGOING);
      const sent = socket.send(OUTGOING, bytes.length, endpoint, segment);
      if (sent === -Errno.EAGAIN) return;
      if (sent >= 0 && sent < bytes.length) {
        backlog.shorten(sent);
        return;
      }
      backlog.shift();
      if (sent < 0) this.refused(sent, socket, endpoint, drops, OUTGOING, bytes.length, segment);
    }
  }

  private dispatch(
    socket: UdpSocket,
    endpoint: SocketEndpoint,
    drops: SendDrops,
    start: number,
    length: number,
    segment: number,
  ): void {
    const sent = socket.send(start, length, endpoint, segment);
    if (sent >= length) return;
    if (sent >= 0) this.wait(socket, endpoint, drops, start + sent, length - sent, segment);
    else if (sent === -Errno.EAGAIN) this.wait(socket, endpoint, drops, start, length, segment);
    else this.refused(sent, socket, endpoint, drops, start, length, segment);
  }

  private refused(
    errno: number,
    socket: UdpSocket,
    endpoint: SocketEndpoint,
    drops: SendDrops,
    start: number,
    length: number,
    segment: number,
  ): void {
    if (length <= segment || !endpoint.refused(segment, -errno)) {
      drops.error += Math.ceil(length / segment);
      return;
    }
    // The kernel or the path takes no such segments: one by one it may split each into fragments.
    for (let at = start; at < start + length; at += segment) {
      const len = Math.min(segment, start + length - at);
      const alone = socket.backlog.empty ? socket.send(at, len, endpoint, len) : -Errno.EAGAIN;
      if (alone === -Errno.EAGAIN) this.wait(socket, endpoint, drops, at, len, len);
      else if (alone < 0) drops.error++;
    }
  }

  private wait(
    socket: UdpSocket,
    endpoint: SocketEndpoint,
    drops: SendDrops,
    start: number,
    length: number,
    segment: number,
  ): void {
    socket.backlog.add({ bytes: this.bytes.slice(start, start + length), endpoint, segment, drops });
  }
}
