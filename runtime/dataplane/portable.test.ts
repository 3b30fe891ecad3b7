/** The data plane in a process that has no native code: packets through a tunnel, and every way out. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { newKeyPair } from "../../test/support/keys";
import { describeNeeding } from "../../test/support/needs";
import { Scratch } from "../../test/support/scratch";

const BUILT = path.join(__dirname, "../../dist/runtime/dataplane/api.js");

const WITHOUT_KOFFI = `
  const Module = require("node:module");
  const load = Module._load;
  Module._load = function (id) {
    if (/koffi/.test(id)) throw new Error("no such module: " + id);
    return load.apply(this, arguments);
  };`;

const PROGRAM = `
  const { startDataPlane } = require(${JSON.stringify(BUILT)});
  (async () => {
    const plane = await startDataPlane({ log: (line) => console.log("LOG " + line) });
    console.log("AEAD " + plane.aead);
    const [a, b] = ${JSON.stringify([newKeyPair(), newKeyPair()])};
    const gateway = (id, own, other, last, port) => ({
      id: "n/" + id, port: id, privateKey: own.privateKey, mtu: 1420, gatewayIps: [], dnsIps: [],
      links: [{ id, source: { kind: "stack" }, addresses: ["10.9.0." + last] }],
      peers: [{ publicKey: other.publicKey, allowedIps: ["10.9.0.0/24"], persistentKeepalive: 0, initiate: true,
        ...(port ? { endpoint: "127.0.0.1:" + port } : {}) }],
    });
    const listen = (id) => ({ id, listen: ["127.0.0.1"], port: 0 });
    let ports = {};
    for (let i = 0; i < 2; i++) {
      const { problems, ports: used } = await plane.apply({
        ports: [listen("a"), listen("b")],
        gateways: [gateway("a", a, b, 3, ports.b), gateway("b", b, a, 4, ports.a)],
      });
      if (problems.length) throw new Error(JSON.stringify(problems));
      ports = used;
    }
    const more = await plane.apply({
      ports: [listen("a"), listen("b")],
      gateways: [{ ...gateway("a", a, b, 3, ports.b), links: [
        { id: "a", source: { kind: "stack" }, addresses: ["10.9.0.3"] },
        { id: "tun", source: { kind: "open", name: "warren0" }, addresses: ["10.9.0.7"] } ] }, gateway("b", b, a, 4, ports.a)],
    });
    console.log("PROBLEM " + JSON.stringify(more.problems));
    // The data plane does not keep the process alive.
    const alive = setInterval(() => {}, 1000);
    const arrived = new Promise((resolve) => {
      plane.pipe("b").onPacket = (buf, off, len) => resolve(len);
    });
    const packet = Uint8Array.from([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 9, 0, 3, 10, 9, 0, 4, 0, 9, 0, 9, 0, 8, 0, 0]);
    plane.pipe("a").send(packet, 0, packet.length, 0);
    console.log("ARRIVED " + (await arrived));
    const seen = new Set();
    const all = new Promise((resolve) => {
      plane.pipe("b").onPacket = (buf, off, len) => {
        const id = buf[off + 28] * 256 + buf[off + 29];
        if (len === 1028 && buf.subarray(off + 30, off + len).every((byte) => byte === (id & 255))) seen.add(id);
        if (seen.size === 300) resolve();
      };
    });
    const long = new Uint8Array(1028);
    long.set(packet);
    long.set([4, 4], 2);
    for (let id = 0; id < 300; id++) {
      long.fill(id & 255, 28);
      long.set([id >> 8, id & 255], 28);
      plane.pipe("a").send(long, 0, long.length, 0);
    }
    const slow = setTimeout(() => console.log("LOST " + (300 - seen.size)), 8000);
    await all;
    clearTimeout(slow);
    console.log("ALL");
    clearInterval(alive);
    END_HERE
  })();`;

interface Outcome {
  readonly status: number | NodeJS.Signals | null;
  readonly lines: readonly string[];
  readonly errors: string;
}

async function run(
  end: string,
  env: Record<string, string> = {},
  hook = WITHOUT_KOFFI,
  wrap: readonly string[] = [],
  flags: readonly string[] = [],
): Promise<Outcome> {
  const command = [...wrap, process.execPath, ...flags, "-e", hook + PROGRAM.replace("END_HERE", end)];
  const child = spawn(command[0], command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: "/",
    env: { PATH: process.env.PATH, ...env },
  });
  let out = "";
  let errors = "";
  child.stdout.on("data", (text) => {
    out += text;
  });
  child.stderr.on("data", (text) => {
    errors += text;
  });
  const guard = setTimeout(() => child.kill("SIGKILL"), 15_000);
  const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.on("close", (a, b) => resolve([a, b]));
  });
  clearTimeout(guard);
  return { status: signal ?? status, lines: out.split("\n").filter(Boolean), errors };
}

const PROBLEM =
  'PROBLEM [{"id":"tun","message":"Link tun is a device of the kernel (open), and this data plane runs without native code: use the link userspace (WARREN_LINK=userspace), or install the optional package koffi on Linux."}]';

test.concurrent.each([
  ["nothing left to do", "", 0],
  ["process.exit", "process.exit(3)", 3],
  ["stop, then nothing left to do", "await plane.stop()", 0],
  ["SIGTERM", "process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 9000)", "SIGTERM"],
] as const)("without koffi it works and says once why; its end: %s", async (_name, end, expected) => {
  const { status, lines, errors } = await run(end);
  expect([status, errors]).toEqual([expected, ""]);
  expect(lines).toEqual([
    expect.stringMatching(
      /^LOG The data plane runs without native code, with userspace links only: The optional package koffi cannot be loaded/,
    ),
    "AEAD wasm",
    PROBLEM,
    "ARRIVED 28",
    "ALL",
  ]);
});

describeNeeding(["linux"], "a thread that does not come up", () => {
  const preloads: [string, string, RegExp][] = [
    ["crashes", "throw new Error('boom')", /^LOG .*userspace links only: The data plane did not start: boom$/],
    ["ends", "process.exit(0)", /^LOG .*userspace links only: The data plane did not start: its thread ended/],
    [
      "cannot have koffi",
      "const m = require('node:module'), load = m._load; m._load = function (id) { if (/koffi/.test(id)) throw new Error('none'); return load.apply(this, arguments); }",
      /^LOG .*userspace links only: The optional package koffi cannot be loaded \(none\)/,
    ],
  ];
  test.concurrent.each(preloads)("%s: the portable path takes over with one line", async (_name, code, line) => {
    const scratch = new Scratch();
    try {
      const file = scratch.file("preload.cjs");
      fs.writeFileSync(file, `if (!require("node:worker_threads").isMainThread) { ${code} }`);
      const { status, lines, errors } = await run("", {}, "", [], ["-r", file]);
      expect([status, errors]).toEqual([0, ""]);
      expect(lines).toEqual([expect.stringMatching(line), "AEAD wasm", PROBLEM, "ARRIVED 28", "ALL"]);
      expect((await run("", { WARREN_IO: "native" }, "", [], ["-r", file])).errors).toMatch(/WarrenError/);
    } finally {
      await scratch.dispose();
    }
  });
});

test("WARREN_IO=portable takes it where koffi is there, and says nothing; another value is refused; native is a must", async () => {
  expect((await run("", { WARREN_IO: "portable" }, "")).lines).toEqual(["AEAD wasm", PROBLEM, "ARRIVED 28", "ALL"]);
  expect((await run("", { WARREN_IO: "quick" })).errors).toMatch(/choices are native and portable/);
  expect((await run("", { WARREN_IO: "native" })).errors).toMatch(/WARREN_LINK_UNAVAILABLE/);
});

test("WARREN_AEAD: what runs without native code may be forced, what does not is refused", async () => {
  expect((await run("", { WARREN_AEAD: "node" })).lines.slice(1, 2)).toEqual(["AEAD node:crypto"]);
  expect((await run("", { WARREN_AEAD: "openssl" })).errors).toMatch(/WARREN_AEAD asks for "openssl"/);
});

test("a socket that takes nothing at once: what waits for it leaves later, as it was", async () => {
  // Node sends each datagram after the call, as it does where the system's buffer is full.
  const { status, lines } = await run("", { WARREN_IO: "portable" }, "", [], ["--test-udp-no-try-send"]);
  expect([status, lines.at(-1)]).toEqual([0, "ALL"]);
});

const asRoot = process.getuid?.() === 0;
(asRoot ? test : test.skip)("as nobody, without capabilities", async () => {
  const nobody = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--no-new-privs",
  ];
  const { status, lines } = await run("", {}, WITHOUT_KOFFI, nobody);
  expect([status, lines.at(-1)]).toEqual([0, "ALL"]);
});
