import { describeNeeding } from "../../test/support/needs";
import { useScratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import { KERNEL, KernelPeer, OURS } from "./testing/kernel";

/** Sends datagrams of these lengths and prints the hash of each answer. */
const UDP_CLIENT = `
  const [address, port, ...lengths] = process.argv.slice(1);
  const { createHash } = require("node:crypto");
  const socket = require("node:dgram").createSocket(address.includes(":") ? "udp6" : "udp4");
  let left = lengths.length;
  socket.on("message", (data) => {
    console.log(data.length, createHash("sha256").update(data).digest("hex"));
    if (--left === 0) socket.close();
  });
  socket.on("error", (error) => { console.log(error.code); socket.close(); });
  socket.connect(Number(port), address, () => {
    for (const length of lengths) socket.send(Buffer.alloc(Number(length), String(length)));
  });`;

const UDP_ECHO = `
  const socket = require("node:dgram").createSocket(process.argv[1].includes(":") ? "udp6" : "udp4");
  socket.on("message", (data, from) => socket.send(data, from.port, from.address));
  socket.bind(7, process.argv[1], () => console.log("ready"));`;

describeNeeding(["linux", "root", "tun", "ip", "ping"], "UDP and ICMP with the kernel through a TUN device", () => {
  const scratch = useScratch();
  let peer: KernelPeer;

  beforeAll(async () => {
    peer = await KernelPeer.create(scratch, "u");
  });

  it.each([4, 6] as const)(
    "IPv%s: answers the kernel's echo requests, also long and fragmented ones",
    async (family) => {
      for (const size of ["56", "1300", "20000", "65507"]) {
        const { stdout } = await peer.namespace.run([
          "ping",
          "-c",
          "2",
          "-i",
          "0.2",
          "-W",
          "2",
          "-s",
          size,
          OURS[family],
        ]);
        expect(stdout).toContain(" 0% packet loss");
      }
    },
  );

  it.each([4, 6] as const)("IPv%s: pings the kernel, and hears of what is not there", async (family) => {
    const ping = (to: string, payload?: number): Promise<number | string> =>
      new Promise((resolve) => peer.stack.ping(to, { onReply: resolve, onError: resolve }, { timeout: 1000, payload }));
    expect(await ping(KERNEL[family])).toEqual(expect.any(Number));
    expect(await ping(KERNEL[family], 30000)).toEqual(expect.any(Number));
    const { stdout } = await peer.namespace.run(
      ["ping", "-c", "1", "-W", "1", family === 4 ? "10.77.0.9" : "fd77::9"],
      {
        mayFail: true,
      },
    );
    expect(stdout).toContain("100% packet loss");
    expect(peer.stack.counters.drops["not-ours"]).toBeGreaterThan(0);
    expect(peer.stack.usage.pings).toBe(0);
  });

  it.each([4, 6] as const)("IPv%s: datagrams of up to 64 KiB go both ways", async (family) => {
    const longest = family === 4 ? 65507 : 65527;
    const socket = peer.stack.bindUdp(
      { address: OURS[family], port: 7 },
      {
        onDatagram: (from, _to, data) => socket.send(data, from),
      },
    );
    const lengths = ["1", "1392", "1393", "9000", String(longest)];
    const client = await peer.namespace.run([process.execPath, "-e", UDP_CLIENT, OURS[family], "7", ...lengths]);
    expect(
      client.stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual(lengths);
    socket.close();

    const server = await peer.namespace.start([process.execPath, "-e", UDP_ECHO, KERNEL[family]]);
    await waitFor("the echo server", () => server.stdout.includes("ready"));
    const got: number[] = [];
    const ours = peer.stack.bindUdp({}, { onDatagram: (_from, _to, data) => got.push(data.length) });
    for (const length of [0, 1, 1392, 1393, longest])
      ours.send(new Uint8Array(length).fill(length), { address: KERNEL[family], port: 7 });
    await waitFor("all answers", () => got.length === 5);
    expect(got).toEqual([0, 1, 1392, 1393, longest]);
    ours.close();
  });

  it.each([4, 6] as const)("IPv%s: a port that nobody has is told, both ways", async (family) => {
    const { stdout } = await peer.namespace.run([process.execPath, "-e", UDP_CLIENT, OURS[family], "9", "10"]);
    expect(stdout.trim()).toBe("ECONNREFUSED");
    const codes: string[] = [];
    const socket = peer.stack.bindUdp({}, { onDatagram: () => {}, onError: (code) => codes.push(code) });
    socket.connect({ address: KERNEL[family], port: 9 });
    socket.send(Uint8Array.of(1));
    await waitFor("the error", () => codes.length > 0);
    expect(codes).toEqual(["ECONNREFUSED"]);
    socket.close();
  });
});
