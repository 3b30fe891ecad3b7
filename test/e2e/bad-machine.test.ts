import * as fs from "node:fs";
import * as path from "node:path";
import { socketClient } from "../../provider/client";
import { app } from "../../provider/core/app";
import type { HookContext } from "../../provider/core/crud";
import { machineContext } from "../../provider/dynamic";
import { describeNeeding } from "../support/needs";
import { run } from "../support/process";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

/** A mount namespace in which /dev/net/tun is missing. */
const WITHOUT_TUN = [
  ...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
  'mount -t tmpfs none /dev/net && exec "$@"',
  "sh",
];
/** A user namespace of this account that allows no further one, entered without any capability. */
const WITHOUT_USER_NAMESPACES = [
  ...["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c"],
  'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"',
  "sh",
];

/** Nothing else is good enough. */
const FORCED = { WARREN_LINK: "tun" };

describeNeeding(["linux", "root", "tun"], "a machine that cannot give apps a device, where they must have one", () => {
  const scratch = useScratch();
  const NO_TUN =
    'The device /dev/net/tun cannot be opened (ENOENT): as root run "modprobe tun", or start the container with --device /dev/net/tun.';

  it("says within seconds that /dev/net/tun is missing, and what to do; what was declared can be deleted", async () => {
    const machine = await new Machine(scratch, { folder: "no-tun", through: WITHOUT_TUN, env: FORCED }).start();
    await machine.putNetwork("net");
    const east = await machine.putApp("net", "east");
    const west = await machine.putApp("net", "west");
    const before = Date.now();
    expect(await machine.client.ready(east.id, 20)).toEqual({
      ready: false,
      failed: `instance ord/0 of east is failed: ${NO_TUN}`,
      missing: [`instance ord/0 of east is failed: ${NO_TUN}`],
      warnings: [],
    });
    expect(Date.now() - before).toBeLessThan(15_000);
    expect((await machine.warren(["status"])).stdout).toContain(`problem: east (ord/0): ${NO_TUN}`);
    const entered = await machine.warren(["exec", "east", "--", "true"], { mayFail: true });
    expect(entered).toMatchObject({ code: 1, stderr: `warren: east (ord/0) cannot be entered: ${NO_TUN}\n` });
    // The other app's problem does not hold up the end of this one.
    await machine.client.deleteMember(east.id);
    await machine.client.deleteMember(west.id);
    await machine.deleteNetwork("net");
  }, 40_000);

  it("makes a hook fail with that sentence instead of its deadline, and the object stays for the next up to repair", async () => {
    const machine = await new Machine(scratch, { folder: "hook", through: WITHOUT_TUN, env: FORCED }).start();
    const { spec, id } = await machine.putNetwork("net");
    const ctx = contextOf(machine);
    const news = {
      name: "east",
      network: "net",
      networkId: id,
      space: spec,
      command: ["true"],
      owner: machine.ownerOf("east"),
    };
    const { inputs, failures } = await app.check(ctx, {}, { ...news, before: [] });
    expect(failures).toEqual([]);
    const failure = await app.create(ctx, inputs).catch((error) => error);
    expect(failure).toMatchObject({ name: "InitFailure", reasons: [`instance local/0 of east is failed: ${NO_TUN}`] });
    expect(failure.outs).toMatchObject({ privateIp: "10.1.2.3" });
  }, 40_000);

  describeNeeding(["tun-for-all"], "and has no privileges", () =>
    it("says which setting forbids user namespaces", async () => {
      const options = { user: "nobody", folder: "no-userns", through: WITHOUT_USER_NAMESPACES, env: FORCED } as const;
      const machine = await new Machine(scratch, options).start();
      await machine.putNetwork("net");
      const east = await machine.putApp("net", "east");
      expect((await machine.client.ready(east.id, 20)).failed).toMatch(
        /^instance ord\/0 of east is failed: Apps cannot get a network namespace with a TUN device on this machine \(.+\): as root run "sysctl user\.max_user_namespaces=10000"\.$/,
      );
    }, 40_000),
  );
});

describeNeeding(["linux", "root", "tun"], "a state folder that cannot be used", () => {
  const scratch = useScratch();
  const sentence = async (machine: Machine) => {
    const { code, stdout } = await machine.ensureDaemon({ mayFail: true });
    expect(code).toBe(1);
    return JSON.parse(stdout);
  };

  it("because this user may not write it: says so, with the remedy, and starts nothing", async () => {
    const machine = new Machine(scratch, { user: "nobody", folder: "theirs" });
    fs.chownSync(machine.home.dir, 0, 0);
    expect(await sentence(machine)).toEqual({
      code: "WARREN_PERMISSION",
      path: "WARREN_HOME",
      message: `The state folder ${machine.home.dir} belongs to user 0, but this is user 65534: run as that user, or set WARREN_HOME to a folder that this user may write.`,
    });
    const inside = new Machine(scratch, { user: "nobody", folder: "closed/home" });
    fs.rmdirSync(inside.home.dir);
    expect(await sentence(inside)).toMatchObject({
      code: "WARREN_PERMISSION",
      message: `The state folder ${inside.home.dir} cannot be used (EACCES: permission denied, mkdir '${inside.home.dir}'): set WARREN_HOME to a folder that this user may write.`,
    });
    const frozen = new Machine(scratch, { user: "nobody", folder: "frozen" });
    fs.chmodSync(frozen.home.dir, 0o555);
    expect(await sentence(frozen)).toMatchObject({ code: "WARREN_PERMISSION", path: "WARREN_HOME" });
    for (const { home } of [machine, inside, frozen]) expect(fs.existsSync(home.registry)).toBe(false);
  }, 40_000);

  const onSmallDisk = async (folder: string) => {
    const machine = new Machine(scratch, { folder });
    fs.mkdirSync(machine.home.dir);
    await run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=711", "none", machine.home.dir]);
    scratch.defer(async () => void (await run(["umount", "--lazy", machine.home.dir])));
    // Undone in reverse order: what runs on the disk ends before it goes.
    scratch.defer(() => machine.end());
    const filler = path.join(machine.home.dir, "filler");
    const fill = () => {
      try {
        for (const size of [1 << 16, 1 << 12]) for (;;) fs.appendFileSync(filler, Buffer.alloc(size, 1));
      } catch {
        // Full by the larger steps; the smaller ones follow.
      }
      try {
        for (;;) fs.appendFileSync(filler, Buffer.alloc(1 << 12, 1));
      } catch {
        // Full.
      }
    };
    return { machine, fill, free: () => fs.rmSync(filler) };
  };

  it("because its disk is full when the daemon starts: says so in the daemon's own words", async () => {
    const { machine, fill, free } = await onSmallDisk("full");
    fill();
    expect(await sentence(machine)).toMatchObject({
      code: "WARREN_STORAGE",
      message: expect.stringMatching(
        /full: .*free some space and run again|\(.*full.*\): free some space and run again/,
      ),
    });
    free();
    await machine.start();
    await machine.putNetwork("net");
  }, 40_000);

  it("because its disk fills up meanwhile: refuses with nothing half-made, keeps apps and answers, and goes on once there is space", async () => {
    const { machine, fill, free } = await onSmallDisk("filling");
    await machine.start();
    await machine.putNetwork("net");
    await machine.runApp("net", "east");
    fill();
    const refusal = await waitFor("a refusal", async () => {
      try {
        // Each takes a little of what the files have reserved before.
        await machine.putNetwork(`n${Date.now()}`, { cidr: undefined });
        return undefined;
      } catch (error) {
        return error as { code: string; message: string };
      }
    });
    expect(refusal).toMatchObject({
      code: "WARREN_STORAGE",
      message: `The registry ${machine.home.registry} cannot grow: the disk is full. Nothing was changed: free some space and run again.`,
    });
    const networks = (await machine.client.networks()).map((network) => network.spec.name);
    await expect(machine.putApp("net", "west")).rejects.toMatchObject({ code: "WARREN_STORAGE" });
    expect((await machine.client.members()).map((member) => member.name)).toEqual(["east"]);
    expect((await machine.instance("east")).state).toBe("healthy");
    free();
    const west = await machine.runApp("net", "west");
    expect(west.addresses[0]?.ipv4).toBe("10.1.2.4");
    expect((await machine.client.networks()).map((network) => network.spec.name)).toEqual(networks);
  }, 40_000);
});

/** What a hook has of this machine. */
function contextOf(machine: Machine): HookContext {
  const connect = async () => socketClient(machine.home.controlSocket);
  return { ...machineContext({}), peek: connect, ensure: connect, programDir: "/" };
}
