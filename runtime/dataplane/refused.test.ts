/** Joined datagrams that a real kernel does not take: each leaves all the same. */
import { randomBytes } from "node:crypto";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import { Scratch } from "../../test/support/scratch";
import { Errno } from "../native/errno";
import { loadKernels } from "../native/kernels";
import { encodeSockaddr, PacketIo } from "../native/packet-io";
import { inNamespace } from "../native/tun-open";
import { PAGES, reception } from "./buffers";
import { SocketEndpoint } from "./endpoint-table";
import { Outbox } from "./outbox";
import { NativePort } from "./port";

const COUNT = 20;
const LOOPBACK = Uint8Array.from([127, 0, 0, 1]);
const IPV4_AND_UDP = 28;

describeNeeding(["linux", "root", "tun", "ip"], "joined datagrams of a port", () => {
  let scratch: Scratch;
  let namespace: Namespace;
  let io: PacketIo;
  let outbox: Outbox;
  let port: NativePort;
  let results: number[];

  const inside = (work: () => number): number => inNamespace(`/run/netns/${namespace.name}`, work);

  beforeEach(async () => {
    scratch = new Scratch();
    namespace = await Namespace.create(scratch, "p");
    io = new PacketIo(PAGES);
    outbox = new Outbox(io.bytes, loadKernels(io.native));
    const config = { id: "port", listen: ["0.0.0.0"], port: 0 };
    port = new NativePort(io, outbox, config);
    inside(() => {
      expect(port.bind(config)).toBeUndefined();
      return 0;
    });
    // What the kernel says to each call.
    results = [];
    const send = io.send.bind(io);
    jest.spyOn(io, "send").mockImplementation((...args) => {
      const result = send(...args);
      results.push(result);
      return result;
    });
  });

  afterEach(async () => {
    port.close();
    await scratch.dispose();
  });

  /** Gives the port so many datagrams at once. */
  function emit(to: SocketEndpoint, length: number): Buffer[] {
    const datagrams = Array.from({ length: COUNT }, () => randomBytes(length));
    for (const datagram of datagrams) port.send(datagram, 0, length, to);
    outbox.flush();
    return datagrams;
  }

  test("longer than the line takes: refused (EMSGSIZE), then each leaves in fragments; shorter ones go on being joined", async () => {
    await namespace.ip("link", "set", "lo", "mtu", "1400");
    const fd = inside(() => io.openUdp(LOOPBACK, 0));
    try {
      const number = io.localPort(fd);
      const to = new SocketEndpoint(LOOPBACK, number, encodeSockaddr(LOOPBACK, number));
      const arrived = (): Buffer[] => {
        const out: Buffer[] = [];
        for (let got = io.receive(fd, reception(0), 65536); got >= 0; got = io.receive(fd, reception(0), 65536))
          for (let at = 0; at < got; at += io.segment)
            out.push(Buffer.from(io.bytes.slice(reception(0) + at, reception(0) + Math.min(at + io.segment, got))));
        return out;
      };
      const long = emit(to, 1480);
      expect(results).toEqual([-Errno.EMSGSIZE, ...new Array(COUNT).fill(1480)]);
      expect(arrived()).toEqual(long);
      const again = emit(to, 1480);
      expect(results.slice(COUNT + 1)).toEqual(new Array(COUNT).fill(1480));
      expect(arrived()).toEqual(again);
      const short = emit(to, 1300);
      expect(results.slice(2 * COUNT + 1)).toEqual([COUNT * 1300]);
      expect(arrived()).toEqual(short);
      expect([port.refused, port.drops.error]).toEqual([COUNT, 0]);
    } finally {
      io.close(fd);
    }
  });

  test("over a device that sums nothing, where kernels before 6.11 refuse them (EIO), each leaves whole and in order", async () => {
    const fd = inside(() => io.openTun("plain", undefined, false));
    expect(fd).toBeGreaterThanOrEqual(0);
    try {
      io.prepareTun(fd);
      await namespace.addAddress("plain", "192.0.2.1/24");
      await namespace.ip("link", "set", "plain", "up");
      const there = Uint8Array.from([192, 0, 2, 2]);
      const sent = emit(new SocketEndpoint(there, 9, encodeSockaddr(there, 9)), 1000);
      const left: Buffer[] = [];
      for (let got = io.read(fd, reception(0), 2000); got >= 0; got = io.read(fd, reception(0), 2000)) {
        const packet = io.bytes.slice(reception(0), reception(0) + got);
        if (packet[0] === 0x45 && packet[9] === 17) left.push(Buffer.from(packet.subarray(IPV4_AND_UDP)));
      }
      expect(left).toEqual(sent);
      expect([[COUNT * 1000], [-Errno.EIO, ...new Array(COUNT).fill(1000)]]).toContainEqual(results);
      expect(port.drops.error).toBe(0);
    } finally {
      io.close(fd);
    }
  });
});
