import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { kill, Machine } from "./machine";

/** Asks the URL again and again, and prints the time of each answer. */
const WATCH = `const http = require("node:http");
const ask = () => http.get(process.argv[2], { timeout: 300, agent: false }, (a) => { a.resume(); a.on("end", () => { console.log(Date.now()); setTimeout(ask, 50); }); })
  .on("timeout", function () { this.destroy(); }).on("error", () => setTimeout(ask, 50));
ask();`;

describe.each(["root", "nobody"] as const)("kill -9, as %s", (user) => {
  describeNeeding(["linux", "root", "tun", "curl"], "with two apps in two regions", () => {
    const scratch = useScratch();
    const machine = new Machine(scratch, { user });
    const facts = async () => {
      const instances = [...(await machine.instances("east")), ...(await machine.instances("west"))];
      return instances.map(({ id, pid, ipv4, restarts }) => ({ id, pid, ipv4, restarts }));
    };
    const healthy = async () => {
      const { instances } = await machine.client.status();
      return instances.length === 2 && instances.every((instance) => instance.state === "healthy");
    };
    const addresses = (list: { ipv4?: string }[]) => list.map(({ ipv4 }) => ipv4);

    beforeAll(async () => {
      await machine.start();
      await machine.runPair();
    }, 60_000);

    it("of the daemon: no app stops, the keeper brings it back, and traffic returns without any call", async () => {
      const before = await facts();
      const daemon = await machine.daemonPid();
      const url = `http://${(await machine.instance("west")).ipv4}:8080`;
      const watcher = await machine.startWarren(["exec", "east", "--", ...machine.script("watch", WATCH), url]);
      const answers = () => watcher.stdout.split("\n").filter(Boolean).map(Number);
      await waitFor("an answer", () => answers().length > 2);
      kill(daemon);
      const killed = Date.now();
      // What came within the first moments may have passed the tunnel before.
      await waitFor("traffic after the kill", () => answers().some((at) => at > killed + 100), { timeout: 20_000 });
      await watcher.stop();
      expect(await machine.daemonPid()).not.toBe(daemon);
      await waitFor("healthy apps", healthy);
      expect(await facts()).toEqual(before);
      expect(machine.processesOf("warren.js")).toHaveLength(1);
    }, 40_000);

    it("of the keeper: the daemon makes another, and the apps come back with their addresses", async () => {
      const before = await facts();
      const daemon = await machine.daemonPid();
      const keeper = machine.keeperPid();
      const apps = machine.appProcesses();
      kill(keeper);
      await waitFor("the end of the old apps", () => !apps.some((pid) => machine.appProcesses().includes(pid)));
      const renewed = async () => (await facts()).every(({ pid }) => pid !== undefined && !apps.includes(pid));
      await waitFor("healthy apps", async () => (await renewed()) && (await healthy()), { timeout: 20_000 });
      expect(machine.keeperPid()).not.toBe(keeper);
      const after = await facts();
      expect(addresses(after)).toEqual(addresses(before));
      expect(await machine.daemonPid()).toBe(daemon);
      expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
    }, 40_000);

    it("of everything: the next command brings all of it back with the same addresses, and nothing old is left", async () => {
      const before = await facts();
      for (const pid of [machine.keeperPid(), await machine.daemonPid(), ...machine.appProcesses()]) kill(pid);
      await waitFor(
        "the end of all",
        () => [...machine.appProcesses(), ...machine.processesOf("warren.js")].length === 0,
      );
      // Whoever asks for an app waits for it.
      expect(await machine.exec("east", ["echo", "inside"])).toBe("inside\n");
      await waitFor("healthy apps", healthy);
      expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
      const after = await facts();
      expect(addresses(after)).toEqual(addresses(before));
      expect([machine.processesOf("warren.js").length, machine.processesOf("keeper/main.js").length]).toEqual([1, 1]);
      expect(machine.appProcesses().sort()).toEqual(after.map(({ pid }) => pid!).sort());
    }, 40_000);

    it("of daemon and keeper: apps of the old keeper do not live on beside the new ones", async () => {
      const keeper = machine.keeperPid();
      const daemon = await machine.daemonPid();
      kill(keeper);
      kill(daemon);
      await machine.warren(["status"]);
      await waitFor("healthy apps", healthy, { timeout: 20_000 });
      expect(machine.keeperPid()).not.toBe(keeper);
      expect(machine.appProcesses().sort()).toEqual((await facts()).map(({ pid }) => pid!).sort());
    }, 40_000);
  });
});
