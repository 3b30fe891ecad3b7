import type { TcpConnection, TcpConnectionOptions } from "..";
import { ACK, fields, Network, type NetworkOptions, type Node, SYN, Watcher } from "./network";

export interface RawSegment {
  flags?: number;
  /** Relative to the peer's initial sequence number: its SYN is 0, its first byte 1. */
  seq?: number;
  /** Relative to ours. */
  ack?: number;
  window?: number;
  options?: number[];
  payload?: Uint8Array | number;
  sourcePort?: number;
  destinationPort?: number;
  segment?: number;
  /** Last octet of the peer's address. */
  host?: number;
}

/** Options of a SYN in bytes. */
export const MSS_1360 = [2, 4, 0x05, 0x50];
export const SCALE_0 = [1, 3, 3, 0];
export const SACK_OK = [1, 1, 4, 2];
export function stamps(value: number, echo: number): number[] {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(0x0101080a, 0);
  bytes.writeUInt32BE(value >>> 0, 4);
  bytes.writeUInt32BE(echo >>> 0, 8);
  return [...bytes];
}
/** A SACK option of ranges relative to our initial sequence number. */
export function sackOf(iss: number, ...ranges: [number, number][]): number[] {
  const bytes = Buffer.alloc(4 + ranges.length * 8);
  bytes.set([1, 1, 5, 2 + ranges.length * 8]);
  ranges.forEach(([start, end], i) => {
    bytes.writeUInt32BE((iss + start) >>> 0, 4 + i * 8);
    bytes.writeUInt32BE((iss + end) >>> 0, 8 + i * 8);
  });
  return [...bytes];
}

/** A peer of which every segment is written by hand, so that a test says what is on the wire. */
export class RawPeer {
  readonly network: Network;
  readonly node: Node;
  /** Its initial sequence number, near the end of the space so that every test wraps. */
  irs = 0xffff_fff0;
  /** Ours, as soon as it was seen. */
  iss = 0;
  port = 80;
  peerPort = 5000;

  constructor(options: NetworkOptions = {}) {
    this.network = new Network(options);
    this.network.fate = () => ({ arrivals: [] });
    this.node = this.network.a;
    this.node.keep = true;
  }

  send(s: RawSegment): void {
    const options = s.options ?? [];
    const payload = typeof s.payload === "number" ? Buffer.alloc(s.payload, 0x61) : (s.payload ?? new Uint8Array(0));
    const header = 20 + options.length;
    const bytes = Buffer.alloc(header + payload.length);
    bytes.writeUInt16BE(s.sourcePort ?? this.peerPort, 0);
    bytes.writeUInt16BE(s.destinationPort ?? this.port, 2);
    bytes.writeUInt32BE((this.irs + (s.seq ?? 0)) >>> 0, 4);
    const flags = s.flags ?? ACK;
    bytes.writeUInt32BE(flags & ACK ? (this.iss + (s.ack ?? 1)) >>> 0 : 0, 8);
    bytes[12] = (header / 4) << 4;
    bytes[13] = flags;
    bytes.writeUInt16BE(s.window ?? 65_535, 14);
    bytes.set(options, 20);
    bytes.set(payload, header);
    const remote = Uint8Array.from(this.network.b.address);
    if (s.host !== undefined) remote[remote.length - 1] = s.host;
    this.node.input({ local: this.node.address, remote, bytes, segment: s.segment ?? 0 });
  }

  /** What the stack has sent since the last call, super-segments whole, numbers relative as in `RawSegment`. */
  take() {
    this.network.flush();
    return this.node.sent.splice(0).map(({ bytes, segment }) => {
      const f = fields(bytes);
      if (f.flags & SYN) this.iss = f.sequence;
      return {
        flags: f.flags,
        seq: f.flags & ACK || f.flags & SYN ? (f.sequence - this.iss) | 0 : f.sequence,
        ack: f.flags & ACK ? (f.acknowledgment - this.irs) | 0 : 0,
        window: f.window,
        length: f.payload.length,
        payload: f.payload,
        options: [...f.options],
        segment,
        sourcePort: f.sourcePort,
        destinationPort: f.destinationPort,
      };
    });
  }

  /** Flags, relative numbers and length of what was sent, in short: "ACK 1:1+0". */
  brief(): string[] {
    return this.take().map((s) => {
      const names = ["FIN", "SYN", "RST", "PSH", "ACK"].filter((_, bit) => s.flags & (1 << bit));
      return `${names.filter((name) => name !== "PSH").join(",")} ${s.seq}:${s.ack}+${s.length}`;
    });
  }

  /** The peer connects to a listener of the stack, over 10 ms of round trip. */
  accept(options: number[] = MSS_1360, connection: TcpConnectionOptions = {}, window = 65_535): Watcher {
    let accepted: TcpConnection | undefined;
    let watcher: Watcher | undefined;
    const listener = this.node.tcp.listen({
      port: this.port,
      connection,
      onConnection: (c) => {
        accepted = c;
        watcher = new Watcher(c);
      },
    });
    this.send({ flags: SYN, seq: 0, options, window });
    this.take();
    this.run(10);
    const at = Buffer.from(options).indexOf(Buffer.from([1, 1, 8, 10]));
    const stamp = at < 0 ? [] : stamps(Buffer.from(options).readUInt32BE(at + 4) + 1, 0);
    this.send({ seq: 1, ack: 1, window, options: stamp });
    this.take();
    listener.close();
    if (accepted === undefined || watcher === undefined) throw new Error("the handshake did not complete");
    return watcher;
  }

  /** The stack connects to the peer. */
  connect(options: number[] = MSS_1360, connection: TcpConnectionOptions = {}): Watcher {
    const watcher = this.open(connection);
    this.take();
    this.send({ flags: SYN | ACK, seq: 0, ack: 1, options });
    this.take();
    return watcher;
  }

  /** A SYN from the stack to the peer. */
  open(connection: TcpConnectionOptions = {}): Watcher {
    const remote = { address: this.network.b.address, port: this.peerPort };
    return new Watcher(this.node.tcp.connect(remote, { port: this.port }, connection));
  }

  run(milliseconds: number): void {
    this.network.run(milliseconds);
  }
}
