/** Service addresses as stock programs use them: two regions with two instances each, asked from both links and by a peer of wg-quick. */
import * as fs from "node:fs";
import { machineId } from "../../runtime/machine-id";
import { newKeyPair } from "../support/keys";
import { Namespace } from "../support/namespace";
import { describeNeeding } from "../support/needs";
import { peerPath } from "../support/repo";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { kill, Machine } from "./machine";

/** Says which instance it is. */
const SERVER = `require("node:http").createServer((q, a) => a.end(process.env.FLY_REGION + " " + process.env.FLY_MACHINE_ID + "\\n"))
  .listen(process.env.PORT, process.env.FLY_REGION === "iad" ? "127.0.0.1" : "::")`;

const REQUESTS = 40;
const URL = "http://web.flycast:8080/";
/** New connections one after the other; a line for each that failed, too. */
const ASK = ["sh", "-c", `for i in $(seq ${REQUESTS}); do curl -sS --max-time 10 ${URL} || echo failed; done`];
const ASK_ONCE = ["curl", "-sS", "--fail", "--max-time", "3", URL];

type Caller = "east" | "west" | "laptop";

describeNeeding(["linux", "root", "tun", "ip", "curl", "wg-quick", "wireguard-go"], "an app's service address", () => {
  const scratch = useScratch();
  let machine: Machine;
  let namespace: Namespace;
  let resolvConf: string;

  /** `east` has the link tun, `west` the link userspace, and `laptop` is a stock client of the gateway in ord. */
  function call(who: Caller, argv: readonly string[]) {
    if (who !== "laptop") return machine.exec(who, argv, { mayFail: true, timeout: 60_000 });
    const own = ["unshare", "-m", "sh", "-c", `mount --bind ${resolvConf} /etc/resolv.conf && exec "$@"`, "sh"];
    return namespace.run([...own, ...argv], { mayFail: true, timeout: 60_000 }).then(({ stdout }) => stdout);
  }

  /** How many of the connections each instance took, by `REGION ID`; `failed` is one of them where some did. */
  async function spread(who: Caller): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    const lines = (await call(who, ASK)).trim().split("\n");
    expect(lines).toHaveLength(REQUESTS);
    for (const line of lines) counts[line] = (counts[line] ?? 0) + 1;
    return counts;
  }

  const instancesIn = async (region: string) =>
    (await machine.instances("web"))
      .filter((one) => one.region === region)
      .map((one) => `${region} ${machineId(one.id)}`)
      .sort();

  async function joinLaptop(): Promise<void> {
    const keys = newKeyPair();
    await machine.client.putMember("net", "laptop", {
      owner: machine.ownerOf("laptop"),
      name: "laptop",
      kind: "peer",
      addresses: [{ slot: "peer", ipv4: "10.1.2.50" }],
      peer: { region: "ord", publicKey: keys.publicKey, routes: [], dns: "off", tags: {} },
    });
    const { stdout } = await machine.warren(["config", "laptop"]);
    const device = scratch.device();
    const file = scratch.file(`${device}.conf`);
    fs.writeFileSync(file, stdout.replace(/(# )?PrivateKey = .*/, `PrivateKey = ${keys.privateKey}`), { mode: 0o600 });
    scratch.defer(() => fs.rmSync(`/var/run/wireguard/${device}.sock`, { force: true }));
    const env = { WG_QUICK_USERSPACE_IMPLEMENTATION: peerPath("wireguard-go"), LOG_LEVEL: "silent" };
    await namespace.run(["wg-quick", "up", file], { env });
    resolvConf = scratch.file("resolv.conf");
    fs.writeFileSync(resolvConf, "nameserver 10.1.2.2\nsearch internal\n");
  }

  beforeAll(async () => {
    namespace = await Namespace.create(scratch, "m");
    machine = await new Machine(scratch, {
      env: { WARREN_LINK: "ord=tun,iad=userspace" },
      through: ["ip", "netns", "exec", namespace.name],
    }).start();
    await machine.putNetwork("net", { regions: ["ord", "iad"] });
    const command = machine.script("which", SERVER);
    await machine.putApp("net", "web", { regions: ["ord", "iad"], instances: 2, command, restart: "never" });
    await machine.putApp("net", "east", { regions: ["ord"] });
    await machine.runApp("net", "west", { regions: ["iad"], command });
    await joinLaptop();
    await waitFor("all instances", async () => {
      const all = await machine.instances("web");
      return all.length === 4 && all.every(({ state }) => state === "healthy");
    });
    await waitFor("the laptop's way", async () => (await call("laptop", ASK_ONCE)) !== "");
  }, 90_000);

  it.each([
    ["east", "ord"],
    ["west", "iad"],
    ["laptop", "ord"],
  ] as const)(
    "spreads connections of %s over the instances of its own region",
    async (who, region) => {
      const counts = await spread(who);
      expect(Object.keys(counts).sort()).toEqual(await instancesIn(region));
      // Each by the toss of a coin: one in a million runs has fewer.
      for (const count of Object.values(counts)) expect(count).toBeGreaterThanOrEqual(5);
    },
    60_000,
  );

  it("is one for Node programs on the link userspace that know nothing of proxies", async () => {
    const script = `fetch("${URL}").then((r) => r.text()).then((t) => process.stdout.write(t), (e) => console.log(e.cause.code))`;
    expect(await call("west", [process.execPath, "-e", script])).toMatch(/^iad /);
  }, 30_000);

  it("is closed to whom the policy does not let in, on either link and to stock clients", async () => {
    const reached = async (who: Caller) => (await call(who, ASK_ONCE)) !== "";
    const callers: Caller[] = ["east", "west", "laptop"];
    for (const [allowed, ...denied] of [
      ["laptop", "east", "west"],
      ["west", "east", "laptop"],
      ["east", "west", "laptop"],
    ] as const) {
      const rule = {
        from: [allowed],
        to: ["web"],
        protocol: "tcp" as const,
        ports: [[8080, 8080]] as [number, number][],
      };
      await machine.putNetwork("net", { regions: ["ord", "iad"], policy: [rule] });
      await waitFor(`the rule for ${allowed} alone`, async () => {
        for (const who of denied) if (await reached(who)) return false;
        return reached(allowed);
      });
    }
    await machine.putNetwork("net", { regions: ["ord", "iad"], policy: [] });
    for (const who of callers) await waitFor(`${who}'s way`, () => reached(who));
  }, 90_000);

  it("goes on when instances die: to the others of the region, then to the other region", async () => {
    const [first, second] = await instancesIn("ord");
    const killInstance = async (name: string) => {
      const instance = (await machine.instances("web")).find(({ id }) => name === `ord ${machineId(id)}`)!;
      kill(instance.pid!);
    };
    await killInstance(first!);
    // At once, before anybody has noticed.
    for (const who of ["east", "laptop"] as const) expect(await spread(who)).toEqual({ [second!]: REQUESTS });
    await killInstance(second!);
    for (const who of ["east", "laptop"] as const)
      expect(Object.keys(await spread(who)).sort()).toEqual(await instancesIn("iad"));
    expect(Object.keys(await spread("west")).sort()).toEqual(await instancesIn("iad"));
  }, 90_000);
});
