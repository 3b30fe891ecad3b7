import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as readline from "node:readline";
import { home, prepareHome } from "../home";
import { keyAddress, layout, normalize } from "../ipam";
import { createControl } from "./control";
import { Registry } from "./registry";

const CALLERS = 200;
const ROUNDS = 3;
const BUILT = path.join(__dirname, "../../dist/runtime/control/index.js");

const owner = { organization: "", project: "p", stack: "s", urn: "u" };
const spec = { name: "net", cidr: "10.1.0.0/16", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {} };
const app = {
  regions: ["ord"],
  instances: 1,
  port: 1,
  command: ["x"],
  cwd: "/",
  env: {},
  triggers: [],
  health: { type: "none", interval: 1, timeout: 1, threshold: 1 },
  restart: "always",
  tags: {},
};

let dir: string;
const children = new Set<ChildProcess>();
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-processes-"));
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
  fs.rmSync(dir, { recursive: true, force: true });
});

function start(command: string, ...args: string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  child.on("exit", () => children.delete(child));
  return child;
}

// curl, because a process of it starts in milliseconds: all 200 really are there at once.
const hasCurl = spawnSync("curl", ["--version"]).status === 0;
if (!hasCurl) console.warn("skipped: 200 processes at once (needs curl: apt-get install curl)");

(hasCurl ? test : test.skip)(
  "200 processes at once (needs curl): 200 addresses, no two alike",
  async () => {
    const h = home(dir);
    prepareHome(h);
    const control = createControl({ home: h });
    await control.listen();
    try {
      control.registry.putNetwork("net", { owner, spec });
      const call = (i: number) =>
        new Promise<string>((resolve, reject) => {
          const name = `m${i}`;
          // All of them were promised the same address.
          const addresses = [{ slot: "ord/0", ipv4: "10.1.0.3" }];
          const body = JSON.stringify({ owner: { ...owner, urn: name }, name, kind: "app", addresses, app });
          const url = `http://control/v1/networks/net/members/${name}`;
          const child = start("curl", "--silent", "--unix-socket", h.controlSocket, "-X", "PUT", "-d", body, url);
          let text = "";
          child.stdout!.on("data", (chunk) => {
            text += chunk;
          });
          child.on("error", reject);
          child.on("close", () => resolve(JSON.parse(text).addresses?.[0].ipv4 ?? text));
        });
      const got = await Promise.all(Array.from({ length: CALLERS }, (_, i) => call(i)));
      const expected = Array.from({ length: CALLERS }, (_, i) => `10.1.0.${i + 3}`);
      expect([...got].sort()).toEqual([...expected].sort());
      expect(control.registry.members()).toHaveLength(CALLERS);
    } finally {
      await control.close();
    }
  },
  60_000,
);

/** Creates and deletes without end; says each thing once it is answered for. */
const WRITER = `
const { Registry } = require(process.argv[1]);
const [, , file, dir, round, app] = process.argv;
const registry = new Registry({ file, dir });
const owner = { organization: "", project: "p", stack: "s", urn: "u" };
const say = (line) => require("fs").writeSync(1, line + "\\n");
const made = [];
for (let i = 0; ; i++) {
  const name = "m" + round + "-" + i;
  const member = registry.putMember("net", name, { owner, name, kind: "app", addresses: [], app: { ...JSON.parse(app), instances: 1 + (i % 5) } });
  say("+" + member.id + " " + member.addresses.map((a) => a.ipv4).join(","));
  made.push(member.id);
  if (i % 3 === 2) {
    const id = made.shift();
    say("?" + id);
    registry.deleteMember(id);
    say("-" + id);
  }
}
`;

const whereBuilt = fs.existsSync(BUILT) ? test : test.skip;
if (!fs.existsSync(BUILT)) console.warn("skipped: kill -9 of a writer (needs the build in dist/: npm run build)");

whereBuilt(
  "kill -9 in the middle of writes (needs dist/): what was answered is there, and every address is in one place",
  async () => {
    const file = path.join(dir, "registry.sqlite");
    const first = new Registry({ file, dir });
    first.putNetwork("net", { owner, spec });
    first.close();
    const answered = new Map<string, string>();
    const unsure = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      const child = start(process.execPath, "-e", WRITER, BUILT, file, dir, String(round), JSON.stringify(app));
      let lines = 0;
      for await (const line of readline.createInterface({ input: child.stdout! })) {
        const [id, addresses] = line.slice(1).split(" ");
        if (line[0] === "+") answered.set(id, addresses);
        if (line[0] === "?") unsure.add(id);
        if (line[0] === "-") answered.delete(id);
        if (++lines === 60 + round * 37) child.kill("SIGKILL");
      }
      const registry = new Registry({ file, dir });
      try {
        expect(registry.db.all("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
        expect(registry.db.all("PRAGMA foreign_key_check")).toEqual([]);
        const members = new Map(registry.members().map((m) => [m.id, m.addresses.map((a) => a.ipv4).join(",")]));
        for (const [id, addresses] of answered)
          if (members.has(id) || !unsure.has(id)) expect(members.get(id)).toBe(addresses);
        for (const id of unsure) if (!members.has(id)) answered.delete(id);
        const spans = ["leases", "resting"].flatMap((table) =>
          registry.db.all(`SELECT address AS first, address AS last FROM ${table}`),
        );
        spans.push(...registry.db.all("SELECT first, last FROM free_ranges"));
        const ranges = spans.map((r) => ({ first: keyAddress(String(r.first)), last: keyAddress(String(r.last)) }));
        const total = ranges.reduce((sum, s) => sum + s.last - s.first + 1n, 0n);
        const { issuable } = layout(spec).families[0];
        expect([normalize(ranges), total]).toEqual([[issuable], issuable.last - issuable.first + 1n]);
      } finally {
        registry.close();
      }
    }
  },
  60_000,
);
