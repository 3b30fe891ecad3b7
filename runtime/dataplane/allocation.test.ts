/** A packet on its way through two devices leaves nothing for the garbage collector, however many peers there are. */
import { execFile } from "node:child_process";
import * as path from "node:path";
import { promisify } from "node:util";

const BUILT = path.join(__dirname, "../../dist/runtime");
const PACKETS = 100_000;

const program = (peers: number): string => `
  const { Device } = require("${BUILT}/wireguard/device.js");
  const { selectAead } = require("${BUILT}/dataplane/select-aead.js");
  const { PlainMemory } = require("${BUILT}/native/plain-memory.js");
  const { loadKernels } = require("${BUILT}/native/kernels.js");
  const { endpointOf } = require("${BUILT}/wireguard/endpoint.js");
  const { randomBytes } = require("node:crypto");
  const memory = new PlainMemory(16);
  const aead = selectAead("wasm", memory, loadKernels(memory));
  const { bytes } = memory;
  const AT = 70000;
  const clock = { now: () => 1000, wall: () => ({ seconds: 1, nanos: 0 }) };
  const endpoint = endpointOf(Uint8Array.of(127, 0, 0, 1), 1);
  let got = 0;
  const make = (other) => new Device({
    privateKey: randomBytes(32), clock, random: randomBytes, aead,
    sink: {
      datagram: (buf, off, len) => other().receive(buf, off, len, endpoint),
      packet: () => { got++; },
      event: () => {},
    },
  });
  const a = make(() => b), b = make(() => a);
  for (let i = 1; i < ${peers}; i++)
    a.addPeer({ publicKey: randomBytes(32), allowedIps: ["10." + (i >> 8) + "." + (i & 255) + ".9/32"], persistentKeepalive: 25 });
  a.addPeer({ publicKey: b.publicKey, allowedIps: ["10.200.0.2/32"], persistentKeepalive: 25, endpoint });
  b.addPeer({ publicKey: a.publicKey, allowedIps: ["10.200.0.1/32"], persistentKeepalive: 25, endpoint });
  const send = (count) => {
    for (let i = 0; i < count; i++) {
      bytes.fill(0, AT, AT + 1280);
      bytes.set(header, AT);
      a.send(bytes, AT, 1280);
      if ((i & 63) === 0) { a.tick(); b.tick(); }
    }
  };
  const header = Uint8Array.of(0x45, 0, 5, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 200, 0, 1, 10, 200, 0, 2);
  send(30000);
  const before = process.memoryUsage().heapUsed;
  got = 0;
  send(${PACKETS});
  console.log(got, process.memoryUsage().heapUsed - before);`;

test.each([1, 2000])(
  "of %i peers",
  async (peers) => {
    // Nothing is collected meanwhile, so that what was allocated is what is used.
    const argv = ["--min-semi-space-size=64", "--max-semi-space-size=64", "-e", program(peers)];
    const { stdout } = await promisify(execFile)(process.execPath, argv, { timeout: 60_000 });
    const [got, allocated] = stdout.trim().split(" ").map(Number);
    expect(got).toBe(PACKETS);
    expect(allocated).toBeLessThan(PACKETS);
  },
  70_000,
);
