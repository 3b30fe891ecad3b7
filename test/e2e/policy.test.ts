/** Who may talk to whom, with real packets. */
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

describeNeeding(["linux", "root", "tun", "curl"], "a policy", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  const from = (who: string, url: string) =>
    machine.exec(who, ["curl", "-s", "--max-time", "3", url], { mayFail: true });
  beforeAll(async () => {
    await machine.start();
    await machine.runPair();
  }, 60_000);

  it("closes and opens while everything runs, by rules and without any; a closed app is healthy all the same", async () => {
    const west = (await machine.instance("west")).ipv4;
    const url = `http://${west}:8080`;
    expect(await from("east", url)).toBe("Hello from west!\n");
    const [network] = await machine.client.networks();
    const put = (policy: unknown[]) => machine.putNetwork(network.spec.name, { policy } as object);
    const closed = [{ from: ["west"], to: ["west"], protocol: "any", ports: [] }];
    await put(closed);
    await waitFor("the rule's closing of west", async () => (await from("east", url)) === "");
    expect((await machine.instance("west")).state).toBe("healthy");
    // The other way, and the administrator's, stay open.
    const east = (await machine.instance("east")).ipv4;
    expect(await from("west", `http://${east}:8080`)).toBe("Hello from east!\n");
    await put([{ from: ["region:ord"], to: ["west"], protocol: "tcp", ports: [[8080, 8080]] }]);
    await waitFor("the rule's opening of west", async () => (await from("east", url)) === "Hello from west!\n");
    const { stdout } = await machine.warren(["policy", "check"]);
    expect(stdout).toMatch(/^east +- +tcp 8080$/m);
    await put(closed);
    await waitFor("west's closing once more", async () => (await from("east", url)) === "");
    await put([]);
    await waitFor("west without any rule", async () => (await from("east", url)) === "Hello from west!\n");
  }, 60_000);

  it("is checked by a program: 1 for errors, 0 for what is merely doubtful", async () => {
    const check = async (policy: unknown[]) => {
      await machine.putNetwork("net", { policy } as object);
      const { code, stdout } = await machine.warren(["policy", "check"], { mayFail: true });
      return [code, /^(error|warning): .*/m.exec(stdout)?.[0]];
    };
    const open = { from: ["*"], to: ["west"], protocol: "any", ports: [] };
    expect(await check([open])).toEqual([0, undefined]);
    expect(await check([open, { ...open, from: ["east"] }])).toEqual([
      0,
      "warning: policy[1]: it says nothing that policy[0] does not say already: leave it out.",
    ]);
    expect(await check([{ ...open, from: ["eest"] }])).toEqual([1, expect.stringMatching(/^error: .*is east meant\?/)]);
    await machine.putNetwork("net", { policy: [] });
  }, 30_000);
});
