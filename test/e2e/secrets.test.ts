import * as fs from "node:fs";
import * as path from "node:path";
import { gatewayKeys } from "../../runtime/control/keys";
import { newKeyPair } from "../support/keys";
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { listPids, Machine, read } from "./machine";

describe.each(["root", "nobody"] as const)("secrets, as %s", (user) => {
  describeNeeding(["linux", "root", "tun"], "with two apps and a peer that has a pre-shared key", () => {
    const scratch = useScratch();
    const machine = new Machine(scratch, { user });
    const secrets: string[] = [];
    const shows: readonly (readonly string[])[] = [
      ["status"],
      ["networks"],
      ["peers"],
      ["apps"],
      ["config", "laptop"],
      ["logs", "east"],
    ];
    beforeAll(async () => {
      await machine.start();
      await machine.runPair();
      const { id, seed } = await machine.putNetwork("net");
      const presharedKey = newKeyPair().privateKey;
      const plan = {
        network: (await machine.client.network("net")).spec,
        owner: machine.ownerOf("laptop"),
        name: "laptop",
      };
      const { addresses } = await machine.client.plan({ ...plan, slots: ["peer"], old: [], before: [] });
      const peer = { publicKey: newKeyPair().publicKey, presharedKey, routes: [], tags: {}, region: "ord" };
      await machine.client.putMember(id, "laptop", { ...plan, addresses, kind: "peer", peer });
      const { hosts } = await machine.client.status();
      secrets.push(seed!, presharedKey, ...hosts.map((host) => gatewayKeys(seed!, host.id).privateKey));
      expect(secrets).toHaveLength(4);
    }, 60_000);

    /** Also as hexadecimal text, as some would log bytes. */
    const expectNone = (text: string, where: string) => {
      for (const secret of secrets) {
        const bytes = Buffer.from(secret, "base64");
        for (const form of [secret, bytes.toString("hex"), bytes.toString("latin1")])
          if (text.includes(form)) throw new Error(`a secret stands in ${where}`);
      }
    };

    it.each(
      shows
        .flatMap((args) => [
          [args.join(" "), args] as const,
          [`${args.join(" ")} --json`, [...args, "--json"]] as const,
        ])
        .filter(([name]) => name !== "logs east --json"),
    )("warren %s works and shows none", async (name, args) => {
      const { stdout, stderr } = await machine.warren(args);
      expectNone(stdout + stderr, name);
      if (args.includes("--json")) expect(JSON.parse(stdout)).toBeDefined();
      else if (args[0] !== "logs") expect(stdout).not.toBe("");
    });

    it("daemon, keeper and apps have none in logs, command lines and environments", () => {
      for (const file of [machine.home.daemonLog, machine.home.keeperLog, ...list(machine.home.logs)])
        expectNone(read(file), file);
      const pids = [
        ...machine.processesOf("warren.js"),
        ...machine.processesOf("keeper/main.js"),
        ...machine.appProcesses(),
      ];
      expect(pids.length).toBeGreaterThanOrEqual(4);
      for (const pid of listPids()) expectNone(read(`/proc/${pid}/cmdline`), `the command line of ${pid}`);
      for (const pid of pids) expectNone(read(`/proc/${pid}/environ`), `the environment of ${pid}`);
    });

    it("only files of mode 0600 have some, and others may not even list the folder", () => {
      const holders: string[] = [];
      for (const file of walk(machine.home.dir)) {
        const stat = fs.lstatSync(file);
        if (!stat.isFile()) continue;
        const holds = secrets.some((secret) => {
          const text = fs.readFileSync(file, "latin1");
          return text.includes(secret) || text.includes(Buffer.from(secret, "base64").toString("latin1"));
        });
        if (holds) holders.push(path.basename(file));
        if (holds || !(file.startsWith(machine.home.sources) || file === machine.home.preload))
          expect([file, (stat.mode & 0o777).toString(8)]).toEqual([file, "600"]);
      }
      expect(holders.every((name) => name.startsWith("registry.sqlite"))).toBe(true);
      expect(holders).not.toEqual([]);
      for (const socket of [machine.home.controlSocket, machine.home.keeperSocket])
        expect((fs.statSync(socket).mode & 0o777).toString(8)).toBe("600");
      expect(fs.statSync(machine.home.dir).mode & 0o044).toBe(
        user === "root" ? 0 : fs.statSync(machine.home.dir).mode & 0o044,
      );
    });
  });
});

describe.each(["root", "nobody"] as const)("the password of an app's proxy, as %s", (user) => {
  describeNeeding(["linux", "root", "curl"], "with two apps on the link userspace", () => {
    const scratch = useScratch();
    const machine = new Machine(scratch, { user, env: { WARREN_LINK: "userspace" } });
    let passwords: string[];
    beforeAll(async () => {
      await machine.start();
      await machine.runPair();
      const of = async (app: string) =>
        new URL((await machine.exec(app, ["sh", "-c", "echo $WARREN_PROXY"])).trim()).password;
      passwords = [await of("east"), await of("west")];
      for (const password of passwords) expect(password).toMatch(/^[\w-]{20,}$/);
      // What is refused is worth an error somewhere.
      for (const ask of ["http://nobody.internal/", "http://169.254.169.254/", "http://west.internal:1/"])
        await machine.exec("east", ["sh", "-c", `curl -sS --max-time 5 ${ask} || true`]);
    }, 60_000);

    const expectNone = (text: string, where: string) => {
      if (passwords.some((password) => text.includes(password))) throw new Error(`a password stands in ${where}`);
    };

    it.each([["status"], ["apps"], ["networks"], ["peers"], ["doctor"], ["logs", "east"], ["status", "--json"]])(
      "is not shown by warren %s",
      async (...args) => {
        const { stdout, stderr } = await machine.warren(args, { mayFail: args[0] === "doctor" });
        expectNone(stdout + stderr, args.join(" "));
      },
    );

    it("is in no file of the state folder, no command line, no environment but its own app's", () => {
      for (const file of walk(machine.home.dir)) if (fs.lstatSync(file).isFile()) expectNone(read(file), file);
      expect(machine.log()).not.toBe("");
      for (const pid of listPids()) expectNone(read(`/proc/${pid}/cmdline`), `the command line of ${pid}`);
      for (const pid of [...machine.processesOf("warren.js"), ...machine.processesOf("keeper/main.js")])
        expectNone(read(`/proc/${pid}/environ`), `the environment of ${pid}`);
      const holders = machine
        .appProcesses()
        .map((pid) => passwords.filter((p) => read(`/proc/${pid}/environ`).includes(p)));
      expect(holders.map((held) => held.length)).toEqual(holders.map(() => 1));
      expect(new Set(holders.flat()).size).toBe(2);
    });
  });
});

function list(dir: string): string[] {
  return fs.readdirSync(dir).map((name) => path.join(dir, name));
}

function walk(dir: string): string[] {
  return list(dir).flatMap((file) => (fs.lstatSync(file).isDirectory() ? walk(file) : [file]));
}
