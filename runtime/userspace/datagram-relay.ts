/**
 * UDP between a stack and real sockets: one connected socket for each pair of ends, so that answers of others do not come in and a refusal
 * does. A pair without a datagram for some time is forgotten; where there are too many the one that was silent longest goes.
 */
import * as dgram from "node:dgram";
import * as net from "node:net";
import type { RejectReason } from "../netstack/icmp";
import { NetworkError } from "../netstack/network-error";
import type { Endpoint } from "../netstack/options";
import type { Stack } from "../netstack/stack";
import type { LocalEnd } from "./loopback-target";

export interface DatagramRelayOptions {
  /** Pairs of one holder, and of all. */
  readonly each: number;
  readonly total: number;
  /** Milliseconds without a datagram. @default 60000 */
  readonly idle?: number;
  /** A datagram that came back: from whom it was sent to, to who sent. */
  readonly reply: (from: Endpoint, to: Endpoint, data: Uint8Array) => void;
  readonly refuse: (from: Endpoint, to: Endpoint, reason: RejectReason) => void;
}

/** Replies and refusals as a transparent stack sends them. */
export function answersThrough(stack: Stack): Pick<DatagramRelayOptions, "reply" | "refuse"> {
  return {
    reply: (from, to, data) => {
      try {
        stack.sendDatagram(from, to, data);
      } catch (error) {
        // Lost, as datagrams may be: ::1 carries longer ones than IPv4 does.
        if (!(error instanceof NetworkError)) throw error;
      }
    },
    refuse: (from, to, reason) => stack.rejectDatagram(from, to, reason),
  };
}

interface Pair {
  readonly holder: string;
  readonly key: string;
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** Ends that were not tried yet. */
  ends: LocalEnd[];
  socket: dgram.Socket | undefined;
  connected: boolean;
  /** Datagrams that wait for the connection, and the last one that went out, for another end where this one refuses it. */
  waiting: Buffer[];
  last: Buffer | undefined;
  answered: boolean;
  usedAt: number;
}

/** RFC 4787 REQ-5 wants two minutes; resolvers and games ask again long before this. */
const IDLE = 60_000;
const MAX_WAITING = 16;
/** Bytes in the kernel's or Node's hands, above which datagrams are lost, as datagrams may be. */
const MAX_QUEUED = 4 << 20;

export class DatagramRelay {
  /** Longest unused first. */
  private readonly pairs = new Map<string, Pair>();
  private readonly heldBy = new Map<string, number>();
  private readonly idle: number;
  private timer: NodeJS.Timeout | undefined;
  /** Pairs that gave way to newer ones. */
  private evicted = 0;
  /** Datagrams that were not sent: too many waited, in a pair or in its socket. */
  private dropped = 0;

  constructor(private readonly options: DatagramRelayOptions) {
    this.idle = options.idle ?? IDLE;
  }

  /** By reason. */
  get lost(): Record<string, number> {
    return { "datagram pairs evicted": this.evicted, "datagrams dropped": this.dropped };
  }

  get size(): number {
    return this.pairs.size;
  }

  /**
   * @param holder who answers for the number of pairs.
   * @param ends asked for where the pair is new: the real ends to try, in order; none: it is refused.
   */
  forward(holder: string, from: Endpoint, to: Endpoint, data: Uint8Array, ends: () => LocalEnd[]): void {
    const key = `${from.address} ${from.port} ${to.address} ${to.port}`;
    let pair = this.pairs.get(key);
    if (pair) this.pairs.delete(key);
    else {
      // Nothing listens on port 0, and Node throws where it is asked for.
      const real = ends().filter(({ port }) => port !== 0);
      if (real.length === 0) {
        this.options.refuse(from, to, "port");
        return;
      }
      this.makeRoom(holder);
      this.heldBy.set(holder, (this.heldBy.get(holder) ?? 0) + 1);
      pair = {
        holder,
        key,
        from,
        to,
        ends: real,
        socket: undefined,
        connected: false,
        waiting: [],
        last: undefined,
        answered: false,
        usedAt: 0,
      };
      this.tryNext(pair);
    }
    this.pairs.set(key, pair);
    pair.usedAt = performance.now();
    // The bytes are the stack's after this call.
    this.send(pair, Buffer.from(data));
    if (this.timer === undefined) this.timer = setInterval(() => this.sweep(), this.idle / 4).unref();
  }

  /** Forgets the pairs of one holder. */
  release(holder: string): void {
    for (const pair of [...this.pairs.values()]) if (pair.holder === holder) this.drop(pair);
  }

  close(): void {
    for (const pair of [...this.pairs.values()]) this.drop(pair);
  }

  private send(pair: Pair, data: Buffer): void {
    if (!pair.connected) {
      if (pair.waiting.length < MAX_WAITING) pair.waiting.push(data);
      else this.dropped++;
      return;
    }
    if (!pair.answered) pair.last = data;
    const socket = pair.socket!;
    if (socket.getSendQueueSize() > MAX_QUEUED) {
      this.dropped++;
      return;
    }
    socket.send(data, (error) => {
      if (error) this.failed(pair, socket, error as NodeJS.ErrnoException);
    });
  }

  private tryNext(pair: Pair): void {
    const { address, port } = pair.ends.shift()!;
    const socket = dgram.createSocket(net.isIPv6(address) ? "udp6" : "udp4");
    pair.socket = socket;
    pair.connected = false;
    socket.on("error", (error) => this.failed(pair, socket, error as NodeJS.ErrnoException));
    socket.on("message", (data) => {
      pair.answered = true;
      pair.last = undefined;
      pair.usedAt = performance.now();
      this.options.reply(pair.to, pair.from, data);
    });
    // Node hands the error of a connect to its callback, whose type does not say so.
    socket.connect(port, address, ((error?: NodeJS.ErrnoException) => {
      if (error) this.failed(pair, socket, error);
      if (pair.socket !== socket) return;
      pair.connected = true;
      const waiting = pair.waiting;
      pair.waiting = [];
      for (const data of waiting) this.send(pair, data);
    }) as () => void);
  }

  private failed(pair: Pair, socket: dgram.Socket, error: NodeJS.ErrnoException): void {
    if (pair.socket !== socket) return;
    // Too long for the way: its sender finds out by itself, and the next one may pass.
    if (error.code === "EMSGSIZE" || error.code === "ENOBUFS") return;
    if (!pair.answered && pair.ends.length > 0) {
      closeSocket(socket);
      if (pair.last) pair.waiting.unshift(pair.last);
      this.tryNext(pair);
      return;
    }
    this.drop(pair);
    this.options.refuse(pair.from, pair.to, reasonOf(error.code));
  }

  private makeRoom(holder: string): void {
    const { each, total } = this.options;
    const full = (this.heldBy.get(holder) ?? 0) >= each;
    if (!full && this.pairs.size < total) return;
    for (const pair of this.pairs.values())
      if (!full || pair.holder === holder) {
        this.evicted++;
        this.drop(pair);
        return;
      }
  }

  private drop(pair: Pair): void {
    this.pairs.delete(pair.key);
    const left = (this.heldBy.get(pair.holder) ?? 1) - 1;
    if (left === 0) this.heldBy.delete(pair.holder);
    else this.heldBy.set(pair.holder, left);
    if (pair.socket) closeSocket(pair.socket);
    pair.socket = undefined;
    if (this.pairs.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }

  private sweep(): void {
    const before = performance.now() - this.idle;
    for (const pair of [...this.pairs.values()]) if (pair.usedAt < before) this.drop(pair);
  }
}

function reasonOf(code: string | undefined): RejectReason {
  if (code === "ENETUNREACH") return "network";
  if (code === "EACCES" || code === "EPERM") return "admin";
  return code === "ECONNREFUSED" ? "port" : "host";
}

/** One that is still looking its address up throws where it is closed a second time. */
function closeSocket(socket: dgram.Socket): void {
  try {
    socket.close();
  } catch {
    // Closed already.
  }
}
