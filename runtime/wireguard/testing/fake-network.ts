/** Whole networks of devices in memory: a clock that only moves when told, and wires that lose, delay, double and spoil. */
import { nodeAead } from "../aead-node";
import { Device, type DeviceOptions } from "../device";
import { DevicePort } from "../device-port";
import { parseEndpoint } from "../endpoint";
import { generatePrivateKey } from "../keys";
import type { Peer } from "../peer";
import type { Clock, DeviceEvent, DeviceSink, Endpoint, SendResult } from "../types";
import { ipPacket, payloadText } from "./ip-packet";
import { TestRandom } from "./random";

export class FakeClock implements Clock {
  time = 1000;
  /** Milliseconds since 1970 at time 0. */
  epoch = 1_800_000_000_000;

  now(): number {
    return this.time;
  }

  wall(): { seconds: number; nanos: number } {
    const ms = this.epoch + this.time;
    return { seconds: Math.floor(ms / 1000), nanos: Math.floor((ms % 1000) * 1e6) };
  }
}

export interface Datagram {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

/** What becomes of a datagram; probabilities from 0 to 1, delays in milliseconds. */
export interface Wire {
  delay: number;
  /** Up to this much is added at random, which reorders. */
  spread: number;
  loss: number;
  duplicate: number;
  truncate: number;
  /** One bit is turned over. */
  corrupt: number;
}

/** Bytes before and behind a packet. */
const ROOM = 128;

const PERFECT: Wire = { delay: 1, spread: 0, loss: 0, duplicate: 0, truncate: 0, corrupt: 0 };

interface Flight {
  readonly at: number;
  readonly order: number;
  readonly datagram: Datagram;
}

type Receiver = Pick<DevicePort, "receive" | "nextTimer" | "tick">;

export class FakeNetwork {
  readonly clock = new FakeClock();
  readonly wire: Wire = { ...PERFECT };
  readonly random: TestRandom;
  /** Every datagram sent, in order, before the wire had its way with it. */
  readonly log: Datagram[] = [];
  /** Return false to take a datagram off the wire. */
  filter: (datagram: Datagram) => boolean = () => true;
  readonly nodes: FakeNode[] = [];
  /** Where packets and datagrams are put for a device: a memory that its AEAD likes best. @default one of its own each time */
  memory: Uint8Array | undefined;
  private readonly receivers = new Map<string, Receiver>();
  private readonly timed: Receiver[] = [];
  private flights: Flight[] = [];
  private order = 0;

  constructor(seed = 1) {
    this.random = new TestRandom(seed);
  }

  /** A device of its own at `endpoint`. */
  node(endpoint: string, options: Partial<DeviceOptions> = {}): FakeNode {
    const node = new FakeNode(this, parseEndpoint(endpoint), options);
    this.nodes.push(node);
    this.attach(node.at, node.device);
    this.timed.push(node.device);
    return node;
  }

  /** Several devices behind one port. */
  port(endpoint: string, count: number): { port: DevicePort; nodes: FakeNode[] } {
    const port = new DevicePort({ random: this.random.bytes });
    const nodes = Array.from({ length: count }, () => {
      const node = new FakeNode(this, parseEndpoint(endpoint), { indices: port.indices, load: port.load });
      port.add(node.device);
      this.nodes.push(node);
      return node;
    });
    this.attach(parseEndpoint(endpoint), port);
    this.timed.push(port);
    return { port, nodes };
  }

  attach(at: Endpoint, receiver: Receiver): void {
    this.receivers.set(at.text, receiver);
  }

  /** Nothing listens there any more. */
  detach(at: Endpoint): void {
    this.receivers.delete(at.text);
  }

  transmit(datagram: Datagram): void {
    this.log.push(datagram);
    if (!this.filter(datagram) || this.chance(this.wire.loss)) return;
    this.fly(datagram);
    if (this.chance(this.wire.duplicate)) this.fly(datagram);
  }

  /** Brings bytes to whoever listens, at once, from any address: forgeries and replays. */
  inject(bytes: Uint8Array, from: string | Endpoint, to: Endpoint): void {
    const source = typeof from === "string" ? parseEndpoint(from) : from;
    const buf = this.memory ?? new Uint8Array(bytes.length + 2 * ROOM);
    buf.set(bytes, ROOM);
    this.receivers.get(to.text)?.receive(buf, ROOM, bytes.length, source);
  }

  /** Lets this much time pass, with all that is due in it in its order. */
  run(milliseconds: number): void {
    const end = this.clock.time + milliseconds;
    for (;;) {
      this.flights.sort((a, b) => a.at - b.at || a.order - b.order);
      const arrival = this.flights[0]?.at ?? Number.POSITIVE_INFINITY;
      const timer = Math.min(...this.timed.map((t) => t.nextTimer()));
      const next = Math.min(arrival, timer);
      if (next > end) break;
      this.clock.time = Math.max(this.clock.time, next);
      if (arrival <= timer) {
        const { datagram } = this.flights.shift()!;
        this.inject(datagram.bytes, datagram.from, datagram.to);
      } else for (const t of this.timed) t.tick();
    }
    this.clock.time = end;
  }

  /** Peers of each other, with each other's address as allowed IP. */
  connect(a: FakeNode, aIp: string, b: FakeNode, bIp: string, options: ConnectOptions = {}): { ab: Peer; ba: Peer } {
    const { presharedKey, keepalive = 0, endpoints = "both" } = options;
    const common = { presharedKey, persistentKeepalive: keepalive };
    const ab = a.device.addPeer({
      ...common,
      publicKey: b.device.publicKey,
      allowedIps: [bIp],
      endpoint: endpoints === "none" ? undefined : b.at,
    });
    const ba = b.device.addPeer({
      ...common,
      publicKey: a.device.publicKey,
      allowedIps: [aIp],
      endpoint: endpoints === "both" ? a.at : undefined,
    });
    return { ab, ba };
  }

  private fly(datagram: Datagram): void {
    const { delay, spread, truncate, corrupt } = this.wire;
    let { bytes } = datagram;
    if (this.chance(truncate)) bytes = bytes.slice(0, Math.floor(this.random.number() * bytes.length));
    if (bytes.length > 0 && this.chance(corrupt)) {
      bytes = bytes.slice();
      bytes[Math.floor(this.random.number() * bytes.length)] ^= 1 << Math.floor(this.random.number() * 8);
    }
    const at = this.clock.time + delay + this.random.number() * spread;
    this.flights.push({ at, order: this.order++, datagram: { ...datagram, bytes } });
  }

  private chance(probability: number): boolean {
    return probability > 0 && this.random.number() < probability;
  }
}

export interface ConnectOptions {
  readonly presharedKey?: Uint8Array;
  readonly keepalive?: number;
  /** Who knows the other's address from the start. */
  readonly endpoints?: "both" | "first" | "none";
}

/** A device with an address, a place for what it receives, and its events. */
export class FakeNode implements DeviceSink {
  readonly device: Device;
  readonly received: { readonly packet: Uint8Array; readonly peer: Peer }[] = [];
  readonly events: DeviceEvent[] = [];
  /** What is done with received packets besides keeping them. */
  onPacket: (buf: Uint8Array, off: number, len: number) => void = () => {};

  constructor(
    readonly network: FakeNetwork,
    public at: Endpoint,
    options: Partial<DeviceOptions>,
  ) {
    const random = network.random.bytes;
    this.device = new Device({
      privateKey: generatePrivateKey(random),
      clock: network.clock,
      random,
      aead: nodeAead,
      sink: this,
      ...options,
    });
  }

  datagram(buf: Uint8Array, off: number, len: number, to: Endpoint): void {
    this.network.transmit({ from: this.at, to, bytes: buf.slice(off, off + len) });
  }

  packet(buf: Uint8Array, off: number, len: number, peer: Peer): void {
    this.received.push({ packet: buf.slice(off, off + len), peer });
    this.onPacket(buf, off, len);
  }

  event(event: DeviceEvent): void {
    this.events.push(event);
  }

  /** Another socket: what was on its way to the old address is lost. */
  moveTo(endpoint: string): void {
    this.network.detach(this.at);
    this.at = parseEndpoint(endpoint);
    this.network.attach(this.at, this.device);
  }

  send(packet: Uint8Array): SendResult {
    const buf = this.network.memory ?? new Uint8Array(packet.length + 2 * ROOM);
    buf.set(packet, ROOM);
    return this.device.send(buf, ROOM, packet.length);
  }

  sendText(source: string, destination: string, text: string): SendResult {
    return this.send(ipPacket(source, destination, text));
  }

  /** Payloads received so far, in order. */
  get texts(): string[] {
    return this.received.map(({ packet }) => payloadText(packet));
  }

  count(type: DeviceEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  /** Datagrams that this node has sent, by message type (1 to 4). */
  sent(type?: number): Datagram[] {
    return this.network.log.filter((d) => d.from === this.at && (type === undefined || d.bytes[0] === type));
  }
}
