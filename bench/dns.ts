/** Names of a network asked from an app's namespace, against NSD with the same zone behind a veth pair. They take turns. */
import * as fs from "node:fs";
import * as path from "node:path";
import { connect, Namespace } from "../test/support/namespace";
import { findProgram } from "../test/support/needs";
import { Program } from "../test/support/process";
import { Scratch } from "../test/support/scratch";
import { waitFor } from "../test/support/wait";
import { addressOf, DNS_IP, nameOf } from "./lib/dns-zone";
import { type Bench, median, ROUNDS } from "./lib/figure";
import { cpuSeconds } from "./lib/process-cost";

const NAMES = 5000;
/** Seconds of a round. */
const DURATION = 4;
const ASKER = "10.1.255.1";
const GOAL = 0.5;

interface Contender {
  readonly asker: Namespace;
  readonly pids: () => readonly number[];
}

export const bench: Bench = {
  unavailable() {
    if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
    if (!findProgram("nsd")) return "needs nsd (Debian package nsd)";
    return undefined;
  },

  async run(log) {
    const scratch = new Scratch();
    try {
      const contenders = { ours: await warren(scratch), nsd: await nsd(scratch) };
      const perCpuSecond: Record<keyof typeof contenders, number[]> = { ours: [], nsd: [] };
      const perSecond: Record<keyof typeof contenders, number[]> = { ours: [], nsd: [] };
      for (const contender of Object.values(contenders)) await ask(contender.asker, 3);
      for (let round = 1; round <= ROUNDS; round++)
        for (const name of ["ours", "nsd"] as const) {
          const { asker, pids } = contenders[name];
          const cost = () => pids().reduce((sum, pid) => sum + cpuSeconds(pid), 0);
          const before = cost();
          const answered = await ask(asker, DURATION);
          perCpuSecond[name].push(answered / (cost() - before));
          perSecond[name].push(answered / DURATION);
          log(`round ${round} ${name}: ${Math.round(perCpuSecond[name].at(-1)!)} a second of processor time`);
        }
      return [
        {
          what: `${NAMES} names, answers`,
          unit: "for each second of processor time",
          ours: perCpuSecond.ours,
          other: { name: "NSD", values: perCpuSecond.nsd },
          goal: `≥ ${GOAL} × NSD`,
          met: median(perCpuSecond.ours) >= GOAL * median(perCpuSecond.nsd),
          note: "real packets: from a namespace through its TUN device to .2, and over a veth pair to NSD; all threads of the server",
        },
        {
          what: "the same, as fast as a Node program asks on the other core",
          unit: "a second",
          ours: perSecond.ours,
          other: { name: "NSD", values: perSecond.nsd },
        },
      ];
    } finally {
      await scratch.dispose();
    }
  },
};

async function ask(from: Namespace, seconds: number): Promise<number> {
  const argv = [
    process.execPath,
    path.join(__dirname, "programs", "dns-asker.js"),
    DNS_IP,
    String(NAMES),
    String(seconds),
  ];
  const { stdout } = await from.run(argv, { timeout: (seconds + 20) * 1000 });
  const { right, wrong } = JSON.parse(stdout);
  if (wrong > 0 || right === 0) throw new Error(`${right} right and ${wrong} wrong answers`);
  return right;
}

async function warren(scratch: Scratch): Promise<Contender> {
  const asker = await Namespace.create(scratch, "a");
  const device = scratch.device();
  const program = path.join(__dirname, "programs", "dns-daemon.js");
  const argv = [process.execPath, program, `/var/run/netns/${asker.name}`, device, String(NAMES), ASKER];
  const server = await Program.start(scratch, argv);
  await server.said(/ready/, 30_000);
  await asker.addAddress(device, `${ASKER}/16`);
  await asker.ip("link", "set", device, "mtu", "1420", "up");
  return { asker, pids: () => [server.pid] };
}

async function nsd(scratch: Scratch): Promise<Contender> {
  const asker = await Namespace.create(scratch, "c");
  const server = await Namespace.create(scratch, "s");
  const [near, far] = [scratch.device(), scratch.device()];
  await connect(
    { namespace: asker, device: near, addresses: [`${ASKER}/16`] },
    { namespace: server, device: far, addresses: [`${DNS_IP}/16`] },
  );
  const zone = scratch.file("zone");
  const records = Array.from({ length: NAMES }, (_, i) => `${nameOf(i)} 5 IN A ${addressOf(i)}`);
  fs.writeFileSync(
    zone,
    ["$ORIGIN internal.", "@ 5 IN SOA ns hostmaster 1 60 60 600 5", "@ 5 IN NS ns", ...records, ""].join("\n"),
  );
  const conf = scratch.file("nsd.conf");
  const file = (name: string) => `"${scratch.file(name)}"`;
  fs.writeFileSync(
    conf,
    `server:
  server-count: 1
  ip-address: ${DNS_IP}
  username: ""
  chroot: ""
  zonesdir: ""
  pidfile: ""
  database: ""
  xfrdfile: ${file("xfrd")}
  xfrdir: "${scratch.dir}"
  zonelistfile: ${file("zones")}
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: internal
  zonefile: ${file("zone")}
`,
  );
  const program = await server.start(["nsd", "-d", "-c", conf]);
  await waitFor("NSD", () => ask(asker, 0.2), { timeout: 20_000 });
  return { asker, pids: () => [program.pid, ...descendants(program.pid)] };
}

function descendants(pid: number): number[] {
  const children = fs
    .readdirSync(`/proc/${pid}/task`)
    .flatMap((thread) => fs.readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" ").filter(Boolean));
  return children.flatMap((child) => [Number(child), ...descendants(Number(child))]);
}
