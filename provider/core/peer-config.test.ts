import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parseWgConfig } from "../../net/wg-config";
import type { MemberRecord, NetworkRecord } from "../../runtime/control/interface/types";
import { type PeerConfig, peerConfig } from "./peer-config";

const network = {
  dnsIps: ["10.1.2.2", "fd00:1::2"],
  spec: { cidr: "10.1.2.0/24", ipv6Cidr: "fd00:1::/64", mtu: 1420, domain: "internal" },
} as unknown as NetworkRecord;
const peer = {
  addresses: [{ slot: "peer", ipv4: "10.1.2.3", ipv6: "fd00:1::3" }],
  peer: { routes: [] },
  gateway: { publicKey: `${"A".repeat(43)}=`, endpoint: "127.0.0.1:51820" },
} as unknown as MemberRecord;
const text = (dns: PeerConfig["dns"]) =>
  peerConfig({ peer, network, routes: [], privateKey: `${"B".repeat(42)}A=`, ...(dns ? { dns } : {}) });
const linesOf = (dns: PeerConfig["dns"]) =>
  text(dns)
    .split("\n")
    .filter((line) => /^(DNS|Post)/.test(line));

test("dns: nothing, everything, or what systemd-resolved can do for the network's names only", () => {
  expect(linesOf(undefined)).toEqual([]);
  expect(linesOf("off")).toEqual([]);
  expect(linesOf("all")).toEqual(["DNS = 10.1.2.2, fd00:1::2, internal"]);
  expect(linesOf("split")).toEqual([
    "DNS = 10.1.2.2, fd00:1::2, internal",
    "PostUp = resolvectl domain %i internal '~internal' '~flycast' 2>/dev/null || :",
  ]);
});

test("a program that joins by itself reads the same servers from either", () => {
  for (const dns of ["split", "all"] as const)
    expect(parseWgConfig(text(dns))).toMatchObject({ dns: ["10.1.2.2", "fd00:1::2"], searchDomains: ["internal"] });
});

describe("the command of split, in a shell as wg-quick has it", () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-split-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true }));

  /** @param resolvectl what that program does; undefined: there is none */
  function run(resolvectl: string | undefined): { log: string; status: number | null; stderr: string } {
    const log = path.join(dir, "log");
    fs.writeFileSync(log, "");
    if (resolvectl !== undefined)
      fs.writeFileSync(path.join(dir, "resolvectl"), `#!/bin/sh\n${resolvectl}\n`, { mode: 0o755 });
    const hook = linesOf("split")[1]!
      .replace(/^PostUp = /, "")
      .replaceAll("%i", "wg0");
    const argv = ["--norc", "-e", "-c", `(eval "$1")`, "hook", hook];
    const { status, stderr } = spawnSync("/bin/bash", argv, { env: { PATH: dir, LOG: log }, encoding: "utf8" });
    return { log: fs.readFileSync(log, "utf8"), status, stderr };
  }

  test("systemd-resolved routes our domains; nothing else is asked of it", () => {
    expect(run('echo "$@" >> "$LOG"')).toEqual({
      log: "domain wg0 internal ~internal ~flycast\n",
      status: 0,
      stderr: "",
    });
  });

  test("where it is not there, or does not run, the tunnel comes up all the same", () => {
    expect(run(undefined)).toEqual({ log: "", status: 0, stderr: "" });
    expect(run("echo no >&2; exit 1")).toEqual({ log: "", status: 0, stderr: "" });
  });
});
