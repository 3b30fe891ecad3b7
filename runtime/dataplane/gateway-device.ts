/** One gateway, or stand-alone interface: its switch and its WireGuard device, kept equal to what was configured. */
import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import ipaddr from "ipaddr.js";
import { Device, SCRATCH_BYTES } from "../wireguard/device";
import { parseEndpoint } from "../wireguard/endpoint";
import { formatKey, isLowOrder } from "../wireguard/keys";
import type { Peer } from "../wireguard/peer";
import type { Aead, Clock, DeviceEvent } from "../wireguard/types";
import { DEVICE_SCRATCH, OWN, PACKET_ROOM } from "./buffers";
import type { DataPlaneEvent, GatewayConfig, GatewayStatus, PeerChanges, PeerConfig, PeerStatus } from "./config";
import { SocketEndpoint } from "./endpoint-table";
import { countedDrops, type DnsQuestion, Gateway, type SwitchLink, type Tunnel } from "./gateway";
import type { Outbox } from "./outbox";
import { PlainSwitch } from "./plain-switch";
import type { UdpPort } from "./port";
import type { Switch } from "./switch";

export interface GatewayDeps {
  /** The memory in which packets lie. */
  readonly io: { readonly bytes: Uint8Array };
  readonly outbox: Outbox;
  readonly aead: Aead;
  readonly clock: Clock;
  readonly onEvent: (event: DataPlaneEvent) => void;
  /** @returns false where no more questions can wait. */
  readonly onDns: (gateway: GatewayDevice, question: DnsQuestion) => boolean;
}

interface KnownPeer {
  readonly peer: Peer;
  config: PeerConfig;
}

const bytesOf = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, "base64"));
/** As sockets take it: made once, what is learnt about the way there stays. */
const socketEndpoint = (text: string): SocketEndpoint => SocketEndpoint.of(parseEndpoint(text));
const addressBytes = (text: string): Uint8Array => Uint8Array.from(ipaddr.parse(text).toByteArray());

export class GatewayDevice {
  readonly switch: Switch<Peer>;
  readonly port: UdpPort;
  /** What the switch was given last. */
  links: readonly SwitchLink[] = [];
  stack: SwitchLink | undefined;
  private readonly gateway: Gateway<Peer> | undefined;
  private readonly device: Device;
  private readonly peers = new Map<string, KnownPeer>();
  private readonly otherGateways = new Set<Peer>();

  constructor(
    private readonly deps: GatewayDeps,
    public config: GatewayConfig,
    port: UdpPort,
  ) {
    this.port = port;
    const { outbox } = deps;
    const memory = deps.io.bytes;
    const device = new Device({
      privateKey: bytesOf(config.privateKey),
      clock: deps.clock,
      random: randomBytes,
      aead: deps.aead,
      mtu: config.mtu,
      indices: port.devices.indices,
      load: port.devices.load,
      // One for all devices: each uses it within one call.
      scratch: deps.io.bytes.subarray(DEVICE_SCRATCH, DEVICE_SCRATCH + SCRATCH_BYTES),
      sink: {
        datagram: (buf, off, len, to) => this.port.send(buf, off, len, to),
        packet: (buf, off, len, peer) => this.switch.fromPeer(peer, buf, off, len),
        event: (event) => this.report(event),
      },
    });
    this.device = device;
    const tunnel: Tunnel<Peer> = {
      place: () => outbox.place(),
      send: (buf, off, len) => device.send(memory, outbox.bring(buf, off, len), len),
      sendTo: (peer, buf, off, len) => device.sendTo(peer, memory, outbox.bring(buf, off, len), len),
      destinationOf: (buf, off) => device.allowedIps.destinationOf(buf, off),
      sourceOf: (buf, off) => device.allowedIps.sourceOf(buf, off),
      isGateway: (peer) => this.otherGateways.has(peer),
    };
    const own = { tunnel, scratch: memory, scratchOffset: OWN, now: () => deps.clock.now() };
    if (config.standalone === undefined) {
      this.gateway = new Gateway<Peer>({
        ...own,
        id: config.id,
        mtu: config.mtu,
        gatewayIps: config.gatewayIps.map(addressBytes),
        dnsIps: config.dnsIps.map(addressBytes),
        scratchSize: PACKET_ROOM,
        seed: randomBytes(4).readInt32LE(),
        onDns: (question) => deps.onDns(this, question),
      });
      this.steer(undefined, config);
    }
    this.switch = this.gateway ?? new PlainSwitch<Peer>(own);
    if (config.standalone?.up === false) device.stop();
    port.devices.add(device);
  }

  /** What cannot change on a living device. */
  static identity(config: GatewayConfig): string {
    const { port, privateKey, mtu, gatewayIps, dnsIps, standalone } = config;
    return JSON.stringify(standalone === undefined ? [port, privateKey, mtu, gatewayIps, dnsIps] : [port]);
  }

  /** Takes over what can; not the peers. */
  update(config: GatewayConfig): void {
    this.steer(this.config, config);
    this.config = config;
    const { device } = this;
    device.mtu = config.mtu;
    device.setPrivateKey(bytesOf(config.privateKey));
    if (config.standalone?.up === false) device.stop();
    else device.start();
  }

  /** What the switch is told beside its links. */
  private steer(before: GatewayConfig | undefined, { ranges, policy, services }: GatewayConfig): void {
    const { gateway } = this;
    if (gateway === undefined) return;
    if (!isDeepStrictEqual(before?.ranges, ranges)) gateway.setRanges(ranges ?? []);
    if (!isDeepStrictEqual(before?.policy, policy)) gateway.setPolicy(policy);
    if (!isDeepStrictEqual(before?.services, services)) gateway.setServices(services ?? []);
  }

  /** Adds, changes and removes peers; those that did not change keep their sessions. @returns problems as sentences. */
  setPeers(configs: readonly PeerConfig[]): string[] {
    const problems: string[] = [];
    const wanted = new Set(configs.map((config) => config.publicKey));
    for (const key of this.peers.keys()) if (!wanted.has(key)) this.removePeer(key);
    for (const config of configs) this.trySet(config, false, problems);
    return problems;
  }

  /** @returns problems as sentences. */
  changePeers(changes: Omit<PeerChanges, "gateway">): string[] {
    const problems: string[] = [];
    for (const key of changes.remove) this.removePeer(key);
    for (const { config, moved } of changes.set) this.trySet(config, moved, problems);
    return problems;
  }

  private removePeer(key: string): void {
    const known = this.peers.get(key);
    if (known === undefined) return;
    this.device.removePeer(known.peer.publicKey);
    this.otherGateways.delete(known.peer);
    this.peers.delete(key);
  }

  private trySet(config: PeerConfig, moved: boolean, problems: string[]): void {
    try {
      this.setPeer(config, moved);
    } catch (error) {
      problems.push(`Peer ${config.publicKey}: ${(error as Error).message}`);
    }
  }

  private setPeer(config: PeerConfig, wasMoved: boolean): void {
    // With these no secret can be shared. `wg` may set one and sees it again; nothing is ever sent to it.
    if (this.config.standalone !== undefined && isLowOrder(bytesOf(config.publicKey))) return;
    const known = this.peers.get(config.publicKey);
    if (known === undefined) {
      const peer = this.device.addPeer({
        publicKey: bytesOf(config.publicKey),
        allowedIps: config.allowedIps,
        persistentKeepalive: config.persistentKeepalive,
        ...(config.presharedKey === undefined ? {} : { presharedKey: bytesOf(config.presharedKey) }),
        ...(config.endpoint === undefined ? {} : { endpoint: socketEndpoint(config.endpoint) }),
      });
      this.peers.set(config.publicKey, { peer, config });
      if (config.gateway) this.otherGateways.add(peer);
      if (config.initiate && config.endpoint !== undefined) this.device.initiate(peer);
      return;
    }
    const { peer, config: before } = known;
    known.config = config;
    if (config.gateway) this.otherGateways.add(peer);
    else this.otherGateways.delete(peer);
    if (!wasMoved && JSON.stringify(before) === JSON.stringify(config)) return;
    const moved = config.endpoint !== undefined && (wasMoved || config.endpoint !== before.endpoint);
    this.device.updatePeer(peer.publicKey, {
      allowedIps: config.allowedIps,
      persistentKeepalive: config.persistentKeepalive,
      ...(config.presharedKey === before.presharedKey
        ? {}
        : { presharedKey: config.presharedKey === undefined ? null : bytesOf(config.presharedKey) }),
      ...(moved ? { endpoint: socketEndpoint(config.endpoint!) } : {}),
    });
    if (config.initiate && (moved || !before.initiate) && config.endpoint !== undefined) this.device.initiate(peer);
  }

  private report(event: DeviceEvent): void {
    const gateway = this.config.id;
    if (event.type === "handshake-completed")
      this.deps.onEvent({ type: "handshake", gateway, publicKey: event.peer.name, roundTrip: event.peer.roundTrip! });
    else if (event.type === "handshake-gave-up")
      this.deps.onEvent({ type: "handshake-gave-up", gateway, publicKey: event.peer.name });
    else if (event.type === "endpoint-roamed")
      this.deps.onEvent({ type: "endpoint", gateway, publicKey: event.peer.name, endpoint: event.to.text });
  }

  /** Of the switch and of the WireGuard protocol, by reason. */
  drops(): Record<string, number> {
    const all: Record<string, number> = countedDrops(this.switch.drops);
    for (const [reason, count] of Object.entries(this.device.drops))
      if (count > 0) all[reason] = (all[reason] ?? 0) + count;
    return all;
  }

  status(): PeerStatus[] {
    return [...this.peers.values()].map(({ peer, config }) => ({
      gateway: this.config.id,
      publicKey: config.publicKey,
      ...(peer.endpoint === undefined ? {} : { endpoint: peer.endpoint.text }),
      ...(peer.latestHandshake === undefined ? {} : { latestHandshake: peer.latestHandshake }),
      ...(peer.roundTrip === undefined ? {} : { roundTrip: peer.roundTrip }),
      rx: peer.rxBytes,
      tx: peer.txBytes,
      // Whoever configures a stand-alone interface knows them, and there may be thousands.
      ...(this.config.standalone === undefined
        ? { allowedIps: config.allowedIps, persistentKeepalive: config.persistentKeepalive }
        : {}),
    }));
  }

  gatewayStatus(): GatewayStatus {
    return {
      id: this.config.id,
      publicKey: formatKey(this.device.publicKey),
      port: this.port.id,
      listenPort: this.port.number,
      dropped: this.drops(),
    };
  }

  close(): void {
    this.port.devices.remove(this.device);
    this.device.close();
    this.peers.clear();
    this.otherGateways.clear();
  }
}
