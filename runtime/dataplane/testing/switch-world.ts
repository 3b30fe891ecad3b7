/** A switch in memory: two apps, two other hosts and two attached peers, and what each of them got. */
import type { SendResult } from "../../wireguard/types";
import { newDrops } from "../drops";
import { Gateway } from "../gateway";
import type { DnsQuestion, Offload, SwitchLink, Tunnel } from "../gateway-types";
import { addSum, checksum, pseudoSum, putU16, writeHeader } from "../inet";

const ROOM = 128;
export const ip = (text: string): Uint8Array =>
  text.includes(":")
    ? Uint8Array.from(
        Buffer.from(`fd00000000000000000000000000${text.slice(-4).padStart(4, "0").replace(/:/g, "0")}`, "hex"),
      )
    : Uint8Array.from(text.split(".").map(Number));

/** An IP packet; ICMP gets a right checksum. */
export function packet(from: string, to: string, protocol: number, payload: Uint8Array, ttl = 64): Uint8Array {
  const out = new Uint8Array(40 + payload.length);
  const header = writeHeader(out, 0, ip(from), ip(to), protocol, payload.length);
  out.set(payload, header);
  const len = header + payload.length;
  if (header === 20) {
    out[8] = ttl;
    putU16(out, 10, 0);
    putU16(out, 10, checksum(addSum(0, out, 0, 20)));
  } else out[7] = ttl;
  if (protocol === 1) putU16(out, header + 2, checksum(addSum(0, out, header, payload.length)));
  if (protocol === 58)
    putU16(out, header + 2, checksum(addSum(pseudoSum(out, 0, 6, 58, payload.length), out, header, payload.length)));
  return out.slice(0, len);
}

export const udp = (port: number, data: Uint8Array): Uint8Array => {
  const out = new Uint8Array(8 + data.length);
  putU16(out, 0, 4000);
  putU16(out, 2, port);
  putU16(out, 4, out.length);
  out.set(data, 8);
  return out;
};

export interface TestPeer {
  readonly name: string;
  readonly gateway: boolean;
  readonly has: readonly string[];
}

export class TestLink implements SwitchLink {
  rx = 0;
  tx = 0;
  readonly drops = newDrops();
  readonly addresses: readonly Uint8Array[];
  readonly got: Uint8Array[] = [];
  readonly unfinished: (Offload | undefined)[] = [];
  egress = false;
  up = true;

  constructor(
    readonly id: string,
    addresses: readonly string[],
  ) {
    this.addresses = addresses.map(ip);
  }

  deliver(buf: Uint8Array, off: number, len: number, offload?: Offload): boolean {
    if (!this.up) return false;
    this.unfinished.push(offload);
    this.got.push(buf.slice(off, off + len));
    return true;
  }

  deliverLasting(buf: Uint8Array, off: number, len: number): boolean {
    return this.deliver(buf, off, len);
  }
}

export interface WorldOptions {
  readonly mtu?: number;
  readonly dns?: boolean;
  /** What becomes of each packet that is to be sent. */
  readonly result?: SendResult;
}

export function world(options: WorldOptions = {}) {
  const east: TestPeer = { name: "east-host", gateway: true, has: ["10.0.0.20", "fd00::0020"] };
  const west: TestPeer = { name: "west-host", gateway: true, has: ["10.0.0.21"] };
  const laptop: TestPeer = { name: "laptop", gateway: false, has: ["10.0.0.30"] };
  const phone: TestPeer = { name: "phone", gateway: false, has: ["10.0.0.31"] };
  const peers = [east, west, laptop, phone];
  const sent: { to: string; packet: Uint8Array }[] = [];
  const find = (address: Uint8Array) =>
    peers.find((peer) => peer.has.some((a) => Buffer.compare(ip(a), address) === 0));
  const tunnel: Tunnel<TestPeer> = {
    place: () => ROOM,
    send(buf, off, len) {
      const peer = this.destinationOf(buf, off);
      return peer === undefined ? "no-peer" : this.sendTo(peer, buf, off, len);
    },
    sendTo(peer, buf, off, len) {
      if (options.result !== undefined) return options.result;
      sent.push({ to: peer.name, packet: buf.slice(off, off + len) });
      // A real device encrypts in place.
      buf.fill(0xee, off, off + len);
      return "sent";
    },
    destinationOf: (buf, off) =>
      find(buf[off] >> 4 === 4 ? buf.subarray(off + 16, off + 20) : buf.subarray(off + 24, off + 40)),
    sourceOf: (buf, off) =>
      find(buf[off] >> 4 === 4 ? buf.subarray(off + 12, off + 16) : buf.subarray(off + 8, off + 24)),
    isGateway: (peer) => peer.gateway,
  };
  const questions: DnsQuestion[] = [];
  let time = 0;
  const gateway = new Gateway<TestPeer>({
    id: "net/host",
    mtu: options.mtu ?? 1420,
    gatewayIps: [ip("10.0.0.1"), ip("fd00::0001")],
    dnsIps: [ip("10.0.0.2"), ip("fd00::0002")],
    tunnel,
    scratch: new Uint8Array(4096),
    scratchOffset: 512,
    scratchSize: 2048,
    now: () => time,
    onDns: (question) => {
      if (options.dns === false) return false;
      questions.push(question);
      return true;
    },
  });
  const a = new TestLink("a", ["10.0.0.3", "fd00::0003"]);
  const b = new TestLink("b", ["10.0.0.4", "fd00::0004"]);
  gateway.setLinks([a, b]);
  const place = (bytes: Uint8Array) => {
    const buf = new Uint8Array(ROOM + bytes.length + ROOM);
    buf.set(bytes, ROOM);
    return buf;
  };
  return {
    gateway,
    a,
    b,
    sent,
    questions,
    laptop,
    phone,
    east,
    west,
    advance: (ms: number) => {
      time += ms;
    },
    link: (link: TestLink, bytes: Uint8Array) => gateway.fromLink(link, place(bytes), ROOM, bytes.length),
    peer: (peer: TestPeer, bytes: Uint8Array) => gateway.fromPeer(peer, place(bytes), ROOM, bytes.length),
  };
}
