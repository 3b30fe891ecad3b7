import * as net from "node:net";
import * as fc from "fast-check";
import { describeNeeding } from "../../test/support/needs";
import {
  beyondLoopback,
  isLoopback,
  type Listener,
  listenersOf,
  parseListeners,
  parsePortRange,
  parseProcAddress,
} from "./listeners";
import { LocalApp } from "./local-app";
import { localEnds } from "./loopback-target";

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 1111 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2222 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3333 1 0000000000000000 100 0 0 10 0
`;

describe("listeners", () => {
  test("are the sockets of /proc/net that wait for others", () => {
    expect(parseListeners("tcp", TCP)).toEqual([
      { protocol: "tcp", address: "127.0.0.1", port: 8080, inode: "1111" },
      { protocol: "tcp", address: "0.0.0.0", port: 80, inode: "2222" },
    ]);
    expect(parseListeners("tcp", "")).toEqual([]);
    expect(parseProcAddress("00000000000000000000000001000000")).toBe("::1");
    expect(parseProcAddress("B80D01200000000067452301EFCDAB89")).toBe("2001:db8::123:4567:89ab:cdef");
  });

  test("beyond loopback are told, but not the sockets of UDP clients", () => {
    const on = (protocol: "tcp" | "udp", address: string, port: number) => ({ protocol, address, port, inode: "1" });
    expect(
      beyondLoopback(
        [
          on("tcp", "127.0.0.1", 80),
          on("tcp", "::ffff:127.0.0.1", 81),
          on("tcp", "::", 82),
          on("tcp", "0.0.0.0", 40_000),
          on("udp", "0.0.0.0", 53),
          on("udp", "0.0.0.0", 40_001),
          on("udp", "0.0.0.0", 40_002),
          on("udp", "::", 61_000),
        ],
        { ...parsePortRange("32768\t60999\n"), serves: [40_002] },
      ),
    ).toEqual(["0.0.0.0:40000", "0.0.0.0:40002/udp", "0.0.0.0:53/udp", "[::]:61000/udp", "[::]:82"]);
    expect(parsePortRange("")).toEqual({ first: 32_768, last: 60_999 });
    expect(parsePortRange("1024 2048")).toEqual({ first: 1024, last: 2048 });
    expect(isLoopback("::1")).toBe(true);
  });
});

test("any text in place of /proc/net is read: what is no socket is none", () => {
  const field = fc.oneof(
    fc.constantFrom("0100007F:1F90", "0A", "07", "00000000:0050", ":", "zz:zz", "0", "1"),
    fc.string(),
  );
  const table = fc.array(
    fc.array(field, { maxLength: 12 }).map((fields) => fields.join(" ")),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(table, fc.string(), (lines, tail) => {
      for (const { address, port } of parseListeners("udp", `${lines.join("\n")}\n${tail}`)) {
        expect(net.isIP(address)).not.toBe(0);
        expect(Number.isInteger(port) && port >= 0 && port < 65_536).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});

describe("where a port of an app is on this machine", () => {
  const own = { protocol: "tcp", address: "0.0.0.0", port: 9000, inode: "1" } as const;
  const spec = { port: 8080, loopbackPort: 12_000 };

  test("its declared port is where it was told to listen, another one where its own processes do, all else nowhere", () => {
    const ends = (port: number) => localEnds(spec, "tcp", port, () => [own]);
    expect(ends(8080)).toEqual([
      { address: "127.0.0.1", port: 12_000 },
      { address: "::1", port: 12_000 },
    ]);
    expect(ends(9000)).toEqual([{ address: "127.0.0.1", port: 9000 }]);
    expect(ends(22)).toEqual([]);
  });

  test("an upstream has the declared port and no other", () => {
    const upstream = { ...spec, upstream: { host: "localhost", port: 5432 } };
    expect(localEnds(upstream, "tcp", 8080, () => [own])).toEqual([{ address: "localhost", port: 5432 }]);
    expect(localEnds(upstream, "tcp", 9000, () => [own])).toEqual([]);
  });

  test("it is also where its process listens whatever it was told; looks at the processes are a second apart", () => {
    let now = 0;
    let looks = 0;
    const app = new LocalApp(
      spec,
      () => ({ mark: "m", pid: 1 }),
      () => {
        looks++;
        return [{ ...own, port: 8080 }];
      },
      () => now,
    );
    expect(app.tcpEnds(8080)).toContainEqual({ address: "127.0.0.1", port: 8080 });
    app.tcpEnds(1);
    app.tcpEnds(2);
    expect(looks).toBe(1);
    now = 1001;
    app.tcpEnds(3);
    app.forget();
    app.tcpEnds(4);
    expect(looks).toBe(3);
  });

  test("what was seen stands where the system lets nobody look, as when no descriptor is left", () => {
    let now = 0;
    let closed = false;
    const app = new LocalApp(
      spec,
      () => ({ mark: "m", pid: 1 }),
      () => {
        if (closed) throw Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" });
        return [{ ...own, port: 9000 }];
      },
      () => (now += 2000),
    );
    expect(app.tcpEnds(9000)).toEqual([{ address: "127.0.0.1", port: 9000 }]);
    closed = true;
    expect(app.tcpEnds(9000)).toEqual([{ address: "127.0.0.1", port: 9000 }]);
    expect(app.tcpEnds(9001)).toEqual([]);
  });
});

test("the declared port of an app that does not run leads nowhere: whoever has it now is somebody else", () => {
  let process: { mark: string; pid?: number } | undefined = { mark: "m", pid: 1 };
  let listeners: Listener[] = [];
  let now = 0;
  const app = new LocalApp(
    { port: 8080, loopbackPort: 12_000 },
    () => process,
    () => listeners,
    () => (now += 2000),
  );
  const told = ["127.0.0.1", "::1"].map((address) => ({ address, port: 12_000 }));
  expect([app.tcpEnds(8080), app.datagramEnds(8080)]).toEqual([told, told]);
  process = { mark: "m" };
  expect([app.tcpEnds(8080), app.datagramEnds(8080)]).toEqual([[], []]);
  // It went into the background.
  listeners = [{ protocol: "tcp", address: "127.0.0.1", port: 12_000, inode: "1" }];
  expect(app.tcpEnds(8080)).toEqual([told[0]]);
  process = undefined;
  expect(app.tcpEnds(8080)).toEqual([]);
});

describeNeeding(["linux"], "this process's listeners", () => {
  it("are found by its descriptors", async () => {
    const server = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as net.AddressInfo;
    expect(listenersOf([process.pid])).toContainEqual(
      expect.objectContaining({ protocol: "tcp", address: "127.0.0.1", port }),
    );
    server.close();
  });
});
