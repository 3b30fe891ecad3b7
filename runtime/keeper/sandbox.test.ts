import * as fs from "node:fs";
import { describeNeeding } from "../../test/support/needs";
import { useScratch } from "../../test/support/scratch";
import { waitFor } from "../../test/support/wait";
import { libc } from "../native/libc";
import { fetchTunDescriptor } from "./fd-client";
import {
  alive,
  describeAccounts,
  inside,
  makeHome,
  processSpec,
  type RunningKeeper,
  sandboxSpec,
  startKeeper,
} from "./testing/keepers";

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function echoRequest(from: number[], to: number[]): Buffer {
  const packet = Buffer.alloc(28);
  packet[0] = 0x45;
  packet.writeUInt16BE(packet.length, 2);
  packet[8] = 64;
  packet[9] = 1;
  packet.set(from, 12);
  packet.set(to, 16);
  packet.writeUInt16BE(checksum(packet.subarray(0, 20)), 10);
  packet[20] = 8;
  packet.writeUInt16BE(7, 24);
  packet.writeUInt16BE(checksum(packet.subarray(20)), 22);
  return packet;
}

describeNeeding(["linux", "tun"], "a sandbox", () => {
  const scratch = useScratch();
  const hostResolv = fs.readFileSync("/etc/resolv.conf", "utf8");
  const hostHosts = fs.readFileSync("/etc/hosts", "utf8");

  describeAccounts("made by a keeper of", (who) => {
    let keeper: RunningKeeper;
    let tun: number | undefined;

    beforeAll(async () => {
      keeper = await startKeeper(scratch, who, makeHome(scratch, who));
      await keeper.client.call("ensureSandbox", sandboxSpec("a.0"));
    });

    afterAll(async () => {
      if (tun !== undefined) fs.closeSync(tun);
    });

    it("has a device whose descriptor moves packets: the kernel inside answers an echo request", async () => {
      tun = fetchTunDescriptor(keeper.home.keeperSocket, "a.0");
      const descriptor = tun;
      fs.writeSync(descriptor, echoRequest([10, 1, 2, 9], [10, 1, 2, 4]));
      const space = Buffer.alloc(2000);
      const reply = await waitFor("the echo reply", () => {
        const packet = space.subarray(0, fs.readSync(descriptor, space));
        return packet[9] === 1 && packet;
      });
      expect([...reply.subarray(12, 20)]).toEqual([10, 1, 2, 4, 10, 1, 2, 9]);
      expect([reply[20], reply.readUInt16BE(24)]).toEqual([0, 7]);
    });

    it("hands out as many descriptors as are asked for, and says so of a sandbox that it has not", () => {
      for (let i = 0; i < 20; i++) libc().close(fetchTunDescriptor(keeper.home.keeperSocket, "a.0"));
      expect(() => fetchTunDescriptor(keeper.home.keeperSocket, "b.0")).toThrow(
        expect.objectContaining({ code: "WARREN_NOT_FOUND" }),
      );
      expect(() => fetchTunDescriptor(`${keeper.home.keeperSocket}.none`, "a.0")).toThrow(
        expect.objectContaining({ code: "WARREN_CONTROL_UNREACHABLE" }),
      );
    });

    it("has addresses, routes and MTU as ordered, and nothing else", async () => {
      const addresses = JSON.parse(await inside(keeper, "a.0", "ip", "-j", "addr"));
      const device = addresses.find((d: { ifname: string }) => d.ifname === "wr0");
      expect(device.mtu).toBe(1420);
      expect(device.addr_info.map((a: { local: string; prefixlen: number }) => `${a.local}/${a.prefixlen}`)).toEqual([
        "10.1.2.4/32",
        "fd00::4/128",
      ]);
      expect(addresses.map((d: { ifname: string }) => d.ifname).filter((n: string) => /^(eth|en|wl)/.test(n))).toEqual(
        [],
      );
      expect(await inside(keeper, "a.0", "ip", "route", "get", "10.1.2.77")).toContain("dev wr0 src 10.1.2.4");
      expect(await inside(keeper, "a.0", "ip", "-6", "route", "get", "fd00::77")).toMatch(/dev wr0.* src fd00::4/);
      await expect(inside(keeper, "a.0", "ip", "route", "get", "192.0.2.1")).rejects.toThrow(/unreachable/);
    });

    it("has its own name-service files, and the host's are untouched", async () => {
      expect(await inside(keeper, "a.0", "cat", "/etc/resolv.conf")).toBe("search internal\nnameserver 10.1.2.2\n");
      expect(await inside(keeper, "a.0", "getent", "ahostsv4", "api.internal")).toMatch(/^10\.1\.2\.4 .*api\.internal/);
      expect(await inside(keeper, "a.0", "grep", "^hosts:", "/etc/nsswitch.conf")).toBe("hosts: files dns\n");
      expect(fs.readFileSync("/etc/resolv.conf", "utf8")).toBe(hostResolv);
      expect(fs.readFileSync("/etc/hosts", "utf8")).toBe(hostHosts);
    });

    it("lets programs without capabilities ping and listen on any port", async () => {
      const state = await keeper.client.call(
        "start",
        processSpec(keeper, "a.0", [
          process.execPath,
          "-e",
          `require("net").createServer().listen(80, "10.1.2.4", () => { console.log("listens"); process.exit() })`,
        ]),
      );
      expect(state.state).toBe("starting");
      await waitFor("the listener", () => fs.readFileSync(`${keeper.home.logs}/a.0.log`, "utf8").includes("listens"));
      await keeper.client.call("start", processSpec(keeper, "a.0", ["ping", "-c1", "-W2", "127.0.0.1"]));
      await waitFor("the ping", () => fs.readFileSync(`${keeper.home.logs}/a.0.log`, "utf8").includes("1 received"));
    });

    it("changes in place, with the same namespaces", async () => {
      const before = await inside(keeper, "a.0", "readlink", "/proc/self/ns/net");
      const spec = sandboxSpec("a.0", {
        addresses: ["10.1.2.5", "fd00::4"],
        routes: ["10.1.0.0/16", "fd00::/64"],
        mtu: 1380,
        nameservers: ["10.1.0.2"],
        hosts: [],
      });
      await keeper.client.call("ensureSandbox", spec);
      await keeper.client.call("ensureSandbox", spec);
      expect(await inside(keeper, "a.0", "readlink", "/proc/self/ns/net")).toBe(before);
      const routes = await inside(keeper, "a.0", "ip", "route");
      expect(routes.trim().split("\n")).toHaveLength(1);
      expect(routes).toMatch(/^10\.1\.0\.0\/16 dev wr0 .*src 10\.1\.2\.5/);
      const shown = await inside(keeper, "a.0", "ip", "addr", "show", "wr0");
      expect(shown).toContain("mtu 1380");
      expect(shown).toContain("10.1.2.5/32");
      expect(shown).not.toContain("10.1.2.4/32");
      expect(await inside(keeper, "a.0", "cat", "/etc/resolv.conf")).toBe("search internal\nnameserver 10.1.0.2\n");
      expect(await inside(keeper, "a.0", "cat", "/etc/hosts")).not.toContain("api.internal");
    });

    it("goes with everything in it, also what left its process group or came in from outside", async () => {
      await keeper.client.call("ensureSandbox", sandboxSpec("gone.0"));
      const pids = scratch.file(`pids-${who.uid}`);
      fs.writeFileSync(pids, "", { mode: 0o666 });
      fs.chmodSync(pids, 0o666);
      const script = `echo $$ >>${pids}; setsid sh -c 'trap "" TERM; echo $$ >>${pids}; sleep 100' & trap '' TERM; sleep 100`;
      await keeper.client.call("start", processSpec(keeper, "gone.0", ["sh", "-c", script], { stopTimeout: 200 }));
      const read = () => fs.readFileSync(pids, "utf8").trim().split("\n").filter(Boolean).map(Number);
      await waitFor("both processes", () => read().length === 2);
      const { sandboxes } = await keeper.client.call("list", {});
      expect(sandboxes.map((s) => s.spec.id).sort()).toEqual(["a.0", "gone.0"]);
      await keeper.client.call("removeSandbox", { id: "gone.0" });
      expect(read().filter(alive)).toEqual([]);
      expect((await keeper.client.call("list", {})).sandboxes).toHaveLength(1);
      await keeper.client.call("removeSandbox", { id: "gone.0" });
    });

    it("leaves no descriptor behind", async () => {
      const count = () => fs.readdirSync(`/proc/${keeper.child.pid}/fd`).length;
      const before = count();
      for (let i = 0; i < 3; i++) {
        await keeper.client.call("ensureSandbox", sandboxSpec("b.0"));
        await keeper.client.call("start", processSpec(keeper, "b.0", ["true"]));
        await keeper.client.call("removeSandbox", { id: "b.0" });
      }
      await waitFor("descriptors as before", () => count() <= before);
    });

    it("is refused with a name that is no id", async () => {
      await expect(keeper.client.call("ensureSandbox", sandboxSpec("../x y"))).rejects.toMatchObject({
        code: "WARREN_INVALID_INPUT",
      });
    });
  });
});
