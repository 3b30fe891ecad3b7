/**
 * A TCP/IP host: IPv4 and IPv6, ICMP, UDP and TCP. Pure: packets and a clock in, packets and calls out. It neither routes nor
 * resolves names; one link takes all its packets.
 */
import { addSum, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, u16 } from "../dataplane/inet";
import { AddressTexts, isHostAddress } from "./address";
import { type Drops, newDrops } from "./drops";
import { checksumHolds, type Host } from "./host";
import { type EchoHandler, Icmp, type RejectReason, type Verdict } from "./icmp";
import { Loopback } from "./loopback";
import { NetworkError } from "./network-error";
import { DEFAULT_LIMITS, type Endpoint, type StackLimits, type StackOptions } from "./options";
import { OwnAddresses } from "./own-addresses";
import { IpPacket } from "./packet";
import { PathMtus } from "./path-mtu";
import { type PingHandle, type PingHandler, type PingOptions, Pings } from "./ping";
import { Reassembler } from "./reassembly";
import { Tcp, type TcpLayer, type TcpSyn } from "./tcp";
import { Transmitter } from "./transmit";
import { type DatagramHandler, type UdpEndpoint, type UdpHandler, UdpTable } from "./udp";

/** Rounds of packets to ourselves before others get their turn. */
const LOOP_ROUNDS = 16;

export class Stack {
  /** Packets in and out (one that is to be split counts once), and those that went no further, by reason. */
  readonly counters: { rx: number; tx: number; readonly drops: Drops } = { rx: 0, tx: 0, drops: newDrops() };
  /** TCP; runtime/netstack/streams.ts makes Node's streams of it. */
  readonly tcp: TcpLayer;
  private readonly host: Host;
  private readonly texts = new AddressTexts();
  private readonly paths: PathMtus;
  private readonly transmitter: Transmitter;
  private readonly udp: UdpTable;
  private readonly pings: Pings;
  private readonly icmp: Icmp;
  private readonly reassembler: Reassembler;
  private readonly loopback = new Loopback();
  private readonly packet = new IpPacket();
  private readonly whole = new IpPacket();
  private readonly schedule: (run: () => void) => void;
  private own: OwnAddresses;
  private readonly later: (run: () => void) => void;
  private scheduled = false;
  private looping = false;
  private closed = false;

  /** @throws WarrenError WARREN_INVALID_INPUT */
  constructor(private readonly options: StackOptions) {
    const { now, random } = options;
    const { counters, texts } = this;
    const transparent = options.transparent ?? false;
    const sum = options.sum ?? addSum;
    const limits: StackLimits = { ...DEFAULT_LIMITS, ...options.limits };
    this.schedule = options.schedule ?? queueMicrotask;
    this.later = options.later ?? options.schedule ?? setImmediate;
    this.paths = new PathMtus(options.mtu, limits.paths);
    this.own = new OwnAddresses(options.addresses, options.mtu);
    const { paths } = this;
    const output = (buf: Uint8Array, off: number, len: number, segment: number): boolean =>
      this.output(buf, off, len, segment);
    const owns = (address: Uint8Array): boolean => this.own.ownsBytes(address);
    this.transmitter = new Transmitter({ output, sum, random, paths, counters, owns }, this.room());
    const host: Host = {
      transparent,
      limits,
      drops: counters.drops,
      texts,
      paths,
      transmitter: this.transmitter,
      now,
      random,
      sum,
      owns: (buf, off, family) => this.own.owns(buf, off, family),
      sourceFor: (destination) => this.own.sourceFor(destination),
    };
    this.host = host;
    this.udp = new UdpTable(host);
    this.pings = new Pings(host);
    this.icmp = new Icmp(host, this.pings, {
      tcp: (verdict, quoted) => this.tcpError(verdict, quoted),
      udp: (code, quoted) => this.udp.icmpError(quoted, code),
    });
    this.icmp.onTooBig = (destination, mtu, sent) => {
      // Whatever was too long: a later error about TCP would be no news, and its connections would not hear of it.
      if (paths.lower(destination, mtu, sent, now())) this.tcp.pathMtuChanged(destination);
    };
    this.reassembler = new Reassembler(limits, counters.drops, (quote) => this.reassemblyTimedOut(quote));
    this.tcp = new Tcp(
      {
        now,
        random,
        output: this.transmitter,
        mss: (local, remote) => this.mss(local, remote),
        source: (remote) => this.own.sourceFor(remote),
        wake: () => this.wake(),
      },
      options.tcp,
      options.memory,
    );
  }

  /**
   * With `transparent`: datagrams that no socket has, to whatever address; answers go through `sendDatagram`.
   * Undefined: they are refused (port unreachable).
   */
  set onDatagram(handler: DatagramHandler | undefined) {
    this.udp.onDatagram = handler;
  }

  /** With `transparent`: echo requests to addresses that are not ours. Undefined: dropped. */
  set onEcho(handler: EchoHandler | undefined) {
    this.icmp.onEcho = handler;
  }

  get addresses(): readonly string[] {
    return this.own.texts;
  }

  get transparent(): boolean {
    return this.host.transparent;
  }

  /** UDP sockets, datagrams under reassembly with their bytes, echo requests under way, and paths with an MTU of their own. */
  get usage(): { udpSockets: number; reassemblies: number; reassemblyBytes: number; pings: number; paths: number } {
    const { datagrams, bytes } = this.reassembler.size;
    return {
      udpSockets: this.udp.size,
      reassemblies: datagrams,
      reassemblyBytes: bytes,
      pings: this.pings.size,
      paths: this.paths.size,
    };
  }

  /**
   * Connections and UDP sockets of an address that goes end with EADDRNOTAVAIL.
   * @throws WarrenError WARREN_INVALID_INPUT
   */
  setAddresses(addresses: readonly string[]): void {
    const before = this.own.list;
    this.own = new OwnAddresses(addresses, this.options.mtu);
    this.transmitter.room = this.room();
    for (const address of before) if (!this.own.ownsBytes(address)) this.tcp.addressGone(address);
    this.udp.addressesChanged();
    this.wake();
  }

  /** A packet for us, valid during the call; the same meaning as `PacketPipe.onPacket`. */
  input(buf: Uint8Array, off: number, len: number, segment: number): void {
    if (!this.closed) this.receive(buf, off, len, segment, false);
  }

  /** After a round of packets: what can be answered at once for several of them is answered now. */
  roundEnd(): void {
    if (!this.closed) this.tcp.flush();
  }

  /** Hands over packets to ourselves, in turns of their own: what goes on without end leaves others theirs. */
  private loop(): void {
    this.looping = false;
    for (let round = 0; round < LOOP_ROUNDS && !this.closed && !this.loopback.empty; round++) {
      if (this.loopback.deliver((bytes, segment) => this.receive(bytes, 0, bytes.length, segment, true)))
        this.tcp.drained();
      this.tcp.flush();
    }
    if (!this.loopback.empty) this.wakeLoop();
  }

  private wakeLoop(): void {
    if (this.looping) return;
    this.looping = true;
    this.later(() => this.loop());
  }

  /** The link has room again after `output` was refused. */
  drained(): void {
    if (this.closed) return;
    this.tcp.drained();
    this.roundEnd();
  }

  /** When `tick` has to be called, by the stack's clock; Infinity: never. May be early. */
  nextTimer(): number {
    if (this.closed) return Number.POSITIVE_INFINITY;
    return Math.min(this.tcp.nextTimer(), this.reassembler.nextTimer(), this.pings.nextTimer(), this.paths.nextTimer());
  }

  tick(): void {
    if (this.closed) return;
    const now = this.options.now();
    this.tcp.tick();
    this.reassembler.tick(now);
    this.pings.tick(now);
    this.paths.tick(now, (address) => this.tcp.pathMtuChanged(address));
    this.roundEnd();
  }

  /**
   * Opens a UDP socket.
   * @param local.address default: all of ours, and with `transparent` any
   * @param local.port 0 or absent: a free one, unpredictable
   * @throws WarrenError WARREN_INVALID_INPUT; NetworkError EADDRINUSE, EADDRNOTAVAIL, ENOBUFS
   */
  bindUdp(local: Partial<Endpoint>, handler: UdpHandler): UdpEndpoint {
    this.checkOpen();
    return this.udp.bind(local, handler);
  }

  /**
   * Sends a datagram that no socket stands for; with `transparent`, `from` may be any address.
   * @param data up to 65507 bytes (65527 over IPv6), fragmented where it is longer than the path takes.
   * @returns false where the link had no room for it: it is lost, as datagrams may be
   * @throws NetworkError EMSGSIZE, EADDRNOTAVAIL, EHOSTUNREACH; WarrenError WARREN_INVALID_INPUT
   */
  sendDatagram(from: Endpoint, to: Endpoint, data: Uint8Array): boolean {
    this.checkOpen();
    const source = this.texts.bytes(from.address, "from.address");
    const destination = this.texts.bytes(to.address, "to.address");
    if (source.length !== destination.length) throw new NetworkError("EHOSTUNREACH", "send", to);
    if (!this.transparent && !this.own.ownsBytes(source)) throw new NetworkError("EADDRNOTAVAIL", "send", from);
    return this.udp.send(source, from.port, destination, to.port, data, to);
  }

  /** Tells the sender of a datagram that came `from` there `to` here that it cannot be delivered (ICMP unreachable). */
  rejectDatagram(from: Endpoint, to: Endpoint, reason: RejectReason): void {
    if (!this.closed) this.icmp.rejectDatagram(reason, from, to);
  }

  /** Tells who sent a SYN that there is no way (ICMP unreachable); the SYN counts as answered. */
  rejectSyn(syn: TcpSyn, reason: Exclude<RejectReason, "port">): void {
    if (this.closed || !syn.open) return;
    this.icmp.rejectSyn(reason, syn);
    syn.drop();
  }

  /** Sends an echo request. @throws NetworkError EHOSTUNREACH, ENOBUFS; WarrenError WARREN_INVALID_INPUT */
  ping(to: string, handler: PingHandler, options: PingOptions = {}): PingHandle {
    this.checkOpen();
    const handle = this.pings.send(this.icmp, to, handler, options);
    this.wake();
    return handle;
  }

  /** The bytes of a numeric address. @throws WarrenError WARREN_INVALID_INPUT */
  parse(address: string, path: string): Uint8Array {
    return this.texts.bytes(address, path);
  }

  /** Ends every connection with a reset and every socket without a word; later calls do nothing or say so. */
  close(): void {
    if (this.closed) return;
    this.tcp.close();
    this.tcp.flush();
    this.closed = true;
    this.udp.close();
    this.pings.close();
    this.loopback.clear();
  }

  private checkOpen(): void {
    if (this.closed) throw new NetworkError("EADDRNOTAVAIL", "use of a closed stack");
  }

  /** Bytes of TCP header and payload: a packet of 64 KiB, or where the link takes no segments one of the MTU. */
  private room(): number {
    if (this.options.segments ?? true) return 65535 - 40;
    const v6 = this.options.transparent || this.own.has(6);
    return this.options.mtu - (v6 ? 40 : 20);
  }

  private mss(local: Uint8Array, remote: Uint8Array): number {
    const header = local.length === 4 ? 20 : 40;
    return Math.min(this.paths.get(remote) - header, this.transmitter.room) - 20;
  }

  private wake(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.schedule(() => {
      this.scheduled = false;
      this.roundEnd();
    });
  }

  private output(buf: Uint8Array, off: number, len: number, segment: number): boolean {
    const family = buf[off] >>> 4 === 4 ? 4 : 6;
    if (!this.own.owns(buf, off + (family === 4 ? 16 : 24), family)) return this.options.output(buf, off, len, segment);
    this.wakeLoop();
    return this.loopback.add(buf, off, len, segment);
  }

  private receive(buf: Uint8Array, off: number, len: number, segment: number, local: boolean): void {
    const { packet, counters } = this;
    const { drops } = counters;
    counters.rx++;
    const fault = packet.read(buf, off, len);
    if (fault !== undefined) {
      drops[fault]++;
      return;
    }
    const { family, source, destination } = packet;
    if (!local && (!isHostAddress(buf, source, family) || this.own.owns(buf, source, family))) {
      drops["martian-source"]++;
      return;
    }
    const ours = this.own.owns(buf, destination, family);
    if (!ours) {
      const host = isHostAddress(buf, destination, family);
      if (!host || !this.host.transparent) {
        drops[host ? "not-ours" : "multicast"]++;
        return;
      }
    }
    if (!packet.fragment) {
      this.deliver(packet, segment, ours, local);
      return;
    }
    const { reassembler, whole } = this;
    const length = reassembler.add(packet, this.options.now());
    if (length === 0) return;
    const wrong = whole.read(reassembler.packet, 0, length);
    // A fragment within fragments is nobody's honest packet.
    if (wrong !== undefined || whole.fragment) drops[wrong ?? "fragment-invalid"]++;
    else this.deliver(whole, 0, ours, false);
  }

  private deliver(packet: IpPacket, segment: number, ours: boolean, local: boolean): void {
    const { drops } = this.counters;
    const { protocol, family, buf, transport, payload } = packet;
    if (protocol === PROTO_TCP) {
      if (segment === 0 && !local && !checksumHolds(this.host, packet, PROTO_TCP, payload)) {
        drops.checksum++;
        return;
      }
      this.tcp.input(buf, transport, payload, packet.destination, packet.source, family === 4 ? 4 : 16, segment);
    } else if (protocol === PROTO_UDP) {
      if (!this.udp.input(packet, segment)) this.icmp.refuse("port-unreachable", packet);
    } else if (protocol === (family === 4 ? PROTO_ICMP : PROTO_ICMPV6)) this.icmp.input(packet, ours);
    else {
      drops.protocol++;
      if (ours) this.icmp.refuse("protocol-unreachable", packet, packet.protocolAt - packet.off);
    }
  }

  private tcpError(verdict: Verdict, { buf, source, destination, transport, family }: IpPacket): boolean {
    const size = family === 4 ? 4 : 16;
    const sequence = ((u16(buf, transport + 4) << 16) | u16(buf, transport + 6)) >>> 0;
    const local = buf.slice(source, source + size);
    const remote = buf.slice(destination, destination + size);
    return this.tcp.icmpError(verdict, local, remote, u16(buf, transport), u16(buf, transport + 2), sequence);
  }

  private reassemblyTimedOut(quote: Uint8Array): void {
    const family = quote[0] >>> 4 === 4 ? 4 : 6;
    const at = family === 4 ? 16 : 24;
    const from = quote.slice(at, at + (family === 4 ? 4 : 16));
    this.icmp.sendError("reassembly-timeout", quote, 0, quote.length, family, from, 0);
  }
}
