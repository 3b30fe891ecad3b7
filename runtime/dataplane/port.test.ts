/** A UDP port on real sockets of loopback: whom datagrams are taken to be from. */
import { randomBytes } from "node:crypto";
import { describeNeeding } from "../../test/support/needs";
import { loadKernels } from "../native/kernels";
import { encodeSockaddr, PacketIo } from "../native/packet-io";
import { nodeAead } from "../wireguard/aead-node";
import { Device } from "../wireguard/device";
import type { Endpoint } from "../wireguard/types";
import { PAGES } from "./buffers";
import { EndpointTable, SocketEndpoint } from "./endpoint-table";
import { Outbox } from "./outbox";
import { NativePort } from "./port";

const LOOPBACK = Uint8Array.from([127, 0, 0, 1]);

class World {
  readonly io = new PacketIo(PAGES);
  readonly outbox = new Outbox(this.io.bytes, loadKernels(this.io.native));
  readonly ports: NativePort[] = [];
  time = 0;

  /** A port with one device; and what that got. */
  open(number: number): { port: NativePort; device: Device; got: () => number } {
    const config = { id: `p${this.ports.length}`, listen: ["127.0.0.1"], port: number };
    const port = new NativePort(this.io, this.outbox, config);
    expect(port.bind(config)).toBeUndefined();
    let got = 0;
    const device = new Device({
      privateKey: randomBytes(32),
      clock: { now: () => this.time, wall: () => ({ seconds: 1, nanos: this.time }) },
      random: randomBytes,
      aead: nodeAead,
      indices: port.devices.indices,
      load: port.devices.load,
      sink: {
        datagram: (buf, off, len, to) => port.send(buf, off, len, to),
        packet: () => {
          got++;
        },
        event: () => {},
      },
    });
    port.devices.add(device);
    this.ports.push(port);
    return { port, device, got: () => got };
  }

  /** Until nothing is on its way; loopback delivers within the call that sends. */
  run(): void {
    for (let i = 0; i < 4; i++) {
      this.outbox.flush();
      for (const port of this.ports) for (const socket of port.sockets) port.receive(socket);
    }
    this.outbox.flush();
  }

  close(): void {
    for (const port of this.ports) port.close();
  }
}

const packetOf = (from: number, to: number): Uint8Array => {
  const packet = new Uint8Array(128);
  packet.set([0x45, 0, 0, 64], 16);
  packet.set([10, 0, 0, from, 10, 0, 0, to], 16 + 12);
  return packet;
};

const sockaddrOf = (port: number): Uint8Array => encodeSockaddr(LOOPBACK, port);

/** Free ports whose endpoints push each other out of a table. */
function collidingPorts(count: number): number[] {
  const table = new EndpointTable();
  // Below those that systems give away by themselves.
  const base = 10_000 + (randomBytes(2).readUInt16LE() % 15_000);
  const found = [base];
  for (let port = base + 1; found.length < count; port++) {
    const first = table.intern(sockaddrOf(base), 0);
    table.intern(sockaddrOf(port), 0);
    if (table.intern(sockaddrOf(base), 0) !== first) found.push(port);
  }
  return found;
}

test("endpoints that push each other out of the table are made anew, others are one object", () => {
  const table = new EndpointTable();
  const [a, b] = collidingPorts(2);
  const first = table.intern(sockaddrOf(a), 0);
  expect(table.intern(sockaddrOf(a), 0)).toBe(first);
  expect([first.text, first.host]).toEqual([`127.0.0.1:${a}`, "127.0.0.1"]);
  expect(table.intern(sockaddrOf(b), 0)).not.toBe(first);
  expect(table.intern(sockaddrOf(a), 0)).not.toBe(first);
});

test("one that writes to another address of ours, or comes from another port, is another", () => {
  const buf = new Uint8Array(128);
  buf.set(sockaddrOf(700), 0);
  buf.fill(7, 64, 76);
  const known = new EndpointTable().intern(buf, 0, 64, 12);
  expect(known.isAt(buf, 0, 64, 12)).toBe(true);
  expect(known.isAt(buf, 0, 0, 0)).toBe(false);
  buf[70]++;
  expect(known.isAt(buf, 0, 64, 12)).toBe(false);
  buf[70]--;
  buf[3]++;
  expect(known.isAt(buf, 0, 64, 12)).toBe(false);
});

describeNeeding(["linux"], "a port", () => {
  test("peers whose endpoints share a slot, and forged datagrams to it, leave what is known of each of them", () => {
    const world = new World();
    try {
      const server = world.open(0);
      const ends = collidingPorts(3).map((number) => world.open(number));
      const clients = ends.slice(0, 2);
      const forger = ends[2];
      clients.forEach(({ device }, i) => {
        const endpoint: Endpoint = SocketEndpoint.of(
          new SocketEndpoint(LOOPBACK, server.port.number, sockaddrOf(server.port.number)),
        );
        device.addPeer({
          publicKey: server.device.publicKey,
          allowedIps: ["10.0.0.1/32"],
          persistentKeepalive: 0,
          endpoint,
        });
        server.device.addPeer({
          publicKey: device.publicKey,
          allowedIps: [`10.0.0.${i + 2}/32`],
          persistentKeepalive: 0,
        });
      });
      const exchange = (): void => {
        clients.forEach(({ device }, i) => {
          device.send(packetOf(i + 2, 1), 16, 64);
          world.run();
          server.device.send(packetOf(1, i + 2), 16, 64);
          world.run();
        });
        const forged = new Uint8Array(64);
        forged[0] = 4;
        forger.port.send(
          forged,
          0,
          64,
          new SocketEndpoint(LOOPBACK, server.port.number, sockaddrOf(server.port.number)),
        );
        world.run();
      };
      exchange();
      const known = [...server.device.peers].map(({ endpoint }) => endpoint as SocketEndpoint);
      expect(known.map(({ port }) => port)).toEqual(clients.map(({ port }) => port.number));
      for (const endpoint of known) endpoint.refused(1452, 90);
      for (let i = 0; i < 5; i++) exchange();
      expect([...server.device.peers].map(({ endpoint }) => endpoint)).toEqual(known);
      [...server.device.peers].forEach(({ endpoint }, i) => {
        expect(endpoint).toBe(known[i]);
      });
      expect(known.map(({ maxSegment }) => maxSegment)).toEqual([1451, 1451]);
      expect([server.got(), ...clients.map(({ got }) => got())]).toEqual([12, 6, 6]);
      expect(server.port.devices.drops["unknown-index"]).toBe(6);
    } finally {
      world.close();
    }
  });
});
