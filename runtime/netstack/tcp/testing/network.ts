import { createHash } from "node:crypto";
import {
  Tcp,
  type TcpAddress,
  type TcpConnection,
  type TcpConnectionOptions,
  type TcpError,
  type TcpLimits,
  type TcpPath,
} from "..";

const HEADROOM = 40;
const ROOM = 65_495;

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

/** A segment on its way, as the tests look at it. */
export interface Packet {
  local: TcpAddress;
  remote: TcpAddress;
  /** TCP header and payload. */
  bytes: Buffer;
  /** Payload bytes of the segments it is made of; 0: one. */
  segment: number;
}

export function fields(bytes: Buffer) {
  const header = (bytes[12] >> 4) * 4;
  return {
    sourcePort: bytes.readUInt16BE(0),
    destinationPort: bytes.readUInt16BE(2),
    sequence: bytes.readUInt32BE(4),
    acknowledgment: bytes.readUInt32BE(8),
    flags: bytes[13],
    window: bytes.readUInt16BE(14),
    options: bytes.subarray(20, header),
    payload: bytes.subarray(header),
  };
}

/** The lower layer's way with super-segments: header again before each part, FIN and PSH on the last. */
export function split(packet: Packet): Packet[] {
  const { bytes, segment } = packet;
  const header = (bytes[12] >> 4) * 4;
  const payload = bytes.subarray(header);
  if (segment === 0 || payload.length <= segment) return [{ ...packet, segment: 0 }];
  const parts: Packet[] = [];
  for (let at = 0; at < payload.length; at += segment) {
    const part = Buffer.concat([bytes.subarray(0, header), payload.subarray(at, at + segment)]);
    part.writeUInt32BE((bytes.readUInt32BE(4) + at) >>> 0, 4);
    if (at + segment < payload.length) part[13] &= ~(FIN | PSH);
    parts.push({ ...packet, bytes: part, segment: 0 });
  }
  return parts;
}

export interface Fate {
  /** Milliseconds until each copy arrives; none: lost. */
  arrivals: number[];
}

export interface NetworkOptions {
  seed?: string;
  mtu?: number;
  /** Super-segments arrive as they were sent, as over a link that does not split. */
  whole?: boolean;
  limits?: Partial<TcpLimits>;
  family?: 4 | 6;
}

/** A predictable stream of bytes. */
export function randomFrom(seed: string): (bytes: number) => Uint8Array {
  let counter = 0;
  return (bytes) => {
    const parts: Buffer[] = [];
    for (let have = 0; have < bytes; have += 32) {
      parts.push(createHash("sha256").update(`${seed}/${counter++}`).digest());
    }
    return new Uint8Array(Buffer.concat(parts).subarray(0, bytes));
  };
}

/** One end of the simulated network. */
export class Node {
  readonly tcp: Tcp;
  readonly sent: Packet[] = [];
  keep = false;
  /** Segments that the link takes before it is full. */
  capacity = Number.POSITIVE_INFINITY;
  woken = false;
  wakes = 0;

  constructor(
    readonly network: Network,
    readonly address: TcpAddress,
    limits: Partial<TcpLimits>,
    seed: string,
  ) {
    const buf = new Uint8Array(HEADROOM + ROOM);
    this.tcp = new Tcp(
      {
        now: () => network.now,
        random: randomFrom(seed),
        output: {
          buf,
          off: HEADROOM,
          room: ROOM,
          commit: (path: TcpPath, len: number, segment: number) => {
            if (this.capacity <= 0) return false;
            this.capacity--;
            const bytes = Buffer.from(buf.subarray(HEADROOM, HEADROOM + len));
            const packet = { local: path.local, remote: path.remote, bytes, segment };
            if (this.keep) this.sent.push(packet);
            network.carry(this, packet);
            return true;
          },
        },
        mss: () => this.mtu - (address.length === 4 ? 40 : 60),
        source: () => address,
        wake: () => {
          this.woken = true;
          this.wakes++;
        },
      },
      limits,
    );
    this.mtu = network.options.mtu ?? 1420;
  }

  mtu = 1420;

  /** As if `packet` had come from the network. */
  input(packet: Packet): void {
    const { bytes, local, remote, segment } = packet;
    const buf = Buffer.concat([remote, local, bytes]);
    const n = local.length;
    this.tcp.input(buf, 2 * n, bytes.length, n, 0, n, segment);
  }
}

interface Event {
  time: number;
  order: number;
  to: Node;
  packet: Packet;
}

/** Two ends, a clock that stands still until it is moved, and a link between that does as it is told. */
export class Network {
  now = 1000;
  readonly a: Node;
  readonly b: Node;
  /** What a middlebox does to a segment, in place. */
  alter: (packet: Packet, from: Node) => void = () => {};
  /** Decides over each single segment. */
  fate: (packet: Packet, from: Node) => Fate = () => ({ arrivals: [1] });
  #events: Event[] = [];
  #order = 0;

  constructor(readonly options: NetworkOptions = {}) {
    const seed = options.seed ?? "seed";
    const limits = options.limits ?? {};
    const address = (last: number) =>
      options.family === 6 ? Uint8Array.of(0xfd, ...new Array(14).fill(0), last) : Uint8Array.of(10, 0, 0, last);
    this.a = new Node(this, address(3), limits, `${seed}a`);
    this.b = new Node(this, address(4), limits, `${seed}b`);
  }

  carry(from: Node, packet: Packet): void {
    const to = from === this.a ? this.b : this.a;
    for (const part of this.options.whole ? [packet] : split(packet)) {
      this.alter(part, from);
      for (const delay of this.fate(part, from).arrivals) {
        const event = { time: this.now + delay, order: this.#order++, to, packet: part };
        let at = this.#events.length;
        while (at > 0 && this.#events[at - 1].time > event.time) at--;
        this.#events.splice(at, 0, event);
      }
    }
  }

  flush(): void {
    for (const node of [this.a, this.b]) {
      node.woken = false;
      node.tcp.flush();
    }
    if (this.a.woken || this.b.woken) this.flush();
  }

  next(): number {
    return Math.min(this.#events[0]?.time ?? Number.POSITIVE_INFINITY, this.a.tcp.nextTimer(), this.b.tcp.nextTimer());
  }

  /** Lets everything happen that happens until `time`. */
  until(time: number): void {
    this.flush();
    for (let next = this.next(); next <= time; next = this.next()) {
      this.now = Math.max(this.now, next);
      while (this.#events.length > 0 && this.#events[0].time <= this.now) {
        const { to, packet } = this.#events.shift() as Event;
        to.input({ ...packet, local: packet.remote, remote: packet.local });
      }
      for (const node of [this.a, this.b]) if (node.tcp.nextTimer() <= this.now) node.tcp.tick();
      this.flush();
    }
    this.now = Math.max(this.now, time);
  }

  run(milliseconds: number): void {
    this.until(this.now + milliseconds);
  }

  /** @returns whether `condition` came true within `milliseconds` */
  runWhile(condition: () => boolean, milliseconds: number): boolean {
    const end = this.now + milliseconds;
    this.flush();
    while (condition()) {
      const next = this.next();
      if (next > end) return false;
      this.until(Math.max(next, this.now));
    }
    return true;
  }
}

/** Notes everything that a connection tells, and reads what comes unless told otherwise. */
export class Watcher {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  error: TcpError | undefined;
  reading = true;

  constructor(readonly connection: TcpConnection) {
    connection.handlers = {
      connected: () => this.events.push("connected"),
      readable: () => {
        if (this.reading) this.read();
      },
      writable: () => this.events.push("writable"),
      finished: () => this.events.push("finished"),
      error: (error) => {
        this.error = error;
        this.events.push(error.code);
      },
      closed: () => {
        // With nothing left to read, the end may come while the reader pauses.
        if (this.error === undefined) this.read();
        this.events.push("closed");
      },
    };
  }

  read(): void {
    for (let chunk = this.connection.read(); chunk !== undefined; chunk = this.connection.read()) {
      this.chunks.push(Buffer.from(chunk));
    }
    if (this.connection.readEnded && !this.events.includes("end")) this.events.push("end");
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

/** A listener on `b`, a connection from `a`, both watched, established. */
export function connected(network: Network, options: TcpConnectionOptions = {}): { client: Watcher; server: Watcher } {
  const port = 80;
  const accepted: Watcher[] = [];
  const onConnection = (connection: TcpConnection) => {
    accepted.push(new Watcher(connection));
  };
  network.b.tcp.listen({ port, connection: options, onConnection });
  const client = new Watcher(network.a.tcp.connect({ address: network.b.address, port }, {}, options));
  network.runWhile(() => accepted.length === 0, 1_000_000);
  return { client, server: accepted[0] };
}

/** Both ends connect to each other at once, so that their SYNs cross; both watched, not established yet. */
export function crossed(network: Network, options: TcpConnectionOptions = {}): { client: Watcher; server: Watcher } {
  const ports = { a: 2000, b: 3000 };
  const { a, b } = network;
  const client = new Watcher(a.tcp.connect({ address: b.address, port: ports.b }, { port: ports.a }, options));
  const server = new Watcher(b.tcp.connect({ address: a.address, port: ports.a }, { port: ports.b }, options));
  return { client, server };
}

/** The options of a SYN that a peer of an older age does not know, made to NOPs. */
export function withoutOptions(...kinds: number[]): (packet: Packet) => void {
  return ({ bytes }) => {
    if (!(bytes[13] & SYN)) return;
    const end = (bytes[12] >> 4) * 4;
    for (let at = 20; at < end; ) {
      const kind = bytes[at];
      const size = kind <= 1 ? 1 : bytes[at + 1];
      if (kinds.includes(kind)) bytes.fill(1, at, at + size);
      at += size;
    }
  };
}

export function pattern(length: number, salt = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + (i >>> 16) + salt) & 0xff;
  return bytes;
}

/** Writes all of `data` in chunks as room comes, then ends. */
export function sendAll(watcher: Watcher, data: Buffer, chunk = 30_000): void {
  const { connection } = watcher;
  let at = 0;
  const pump = () => {
    while (at < data.length) {
      const part = data.subarray(at, at + chunk);
      at += part.length;
      if (!connection.write(Buffer.from(part))) break;
    }
    if (at >= data.length) connection.end();
  };
  connection.handlers.writable = pump;
  pump();
}
