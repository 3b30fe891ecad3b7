import * as fs from "node:fs";
import * as os from "node:os";
import { describeNeeding, tunFor } from "../support/needs";
import { Program, run } from "../support/process";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

describe.each(["root", "nobody"] as const)("two apps in two regions, as %s", (user) => {
  describeNeeding(["linux", "root", tunFor(user), "curl"], "on one port of one machine", () => {
    const scratch = useScratch();
    const machine = new Machine(scratch, { user });
    beforeAll(async () => {
      await machine.start();
      await machine.runPair();
    }, 60_000);

    it("reach each other by address and by name, both ways, through a tunnel", async () => {
      const east = (await machine.instance("east")).ipv4;
      const west = (await machine.instance("west")).ipv4;
      expect([east, west].sort()).toEqual(["10.1.2.3", "10.1.2.4"]);
      expect(await machine.curl("east", `http://${west}:8080`)).toBe("Hello from west!\n");
      expect(await machine.curl("west", `http://${east}:8080`)).toBe("Hello from east!\n");
      expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
      expect(await machine.curl("west", "http://east.internal:8080")).toBe("Hello from east!\n");
      const { tunnels } = await machine.client.status();
      expect(tunnels).toHaveLength(2);
      for (const tunnel of tunnels) {
        expect(tunnel).toMatchObject({ remoteKind: "gateway", latestHandshake: expect.any(String) });
        expect(tunnel.rx).toBeGreaterThan(0);
        expect(tunnel.tx).toBeGreaterThan(0);
      }
    });

    it("are reached by nothing outside their network", async () => {
      for (const address of ["10.1.2.3", "10.1.2.4", "127.0.0.1"]) {
        const argv = ["curl", "-sS", "--noproxy", "*", "--max-time", "2", `http://${address}:8080`];
        // Something else may answer there, on this machine or beyond; never these apps.
        expect((await run(argv, { mayFail: true })).stdout).not.toContain("Hello from");
      }
      const pids = [...(await machine.instances("east")), ...(await machine.instances("west"))].map((i) => i.pid);
      expect(pids).toHaveLength(2);
      const listening = (await run(["ss", "-Hltnup"])).stdout;
      for (const pid of pids) expect(listening).not.toContain(`pid=${pid},`);
      expect(Object.values(os.networkInterfaces()).flat()).not.toContainEqual(
        expect.objectContaining({ address: expect.stringMatching(/^10\.1\.2\./) }),
      );
    });

    it("have their gateways' UDP ports on loopback only", async () => {
      const { hosts, pid } = await machine.client.status();
      expect(hosts.map((host) => host.region).sort()).toEqual(["iad", "ord"]);
      const sockets = (await run(["ss", "-Hlunp"])).stdout.split("\n").filter((line) => line.includes(`pid=${pid},`));
      const local = sockets.map((line) => line.trim().split(/\s+/)[3]!);
      const wanted = hosts.flatMap(({ port }) => [`127.0.0.1:${port}`, `[::1]:${port}`]);
      expect(local.sort()).toEqual(wanted.sort());
    });
  });
});

describeNeeding(["linux", "root", "tun", "curl", "tcpdump"], "on the wire", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  beforeAll(async () => {
    await machine.start();
    await machine.runPair();
  }, 60_000);

  it("traffic between hosts is ciphertext: the payload is nowhere on loopback, and the datagrams are WireGuard's", async () => {
    const ports = (await machine.client.status()).hosts.map((host) => host.port);
    const file = scratch.file("capture");
    const dump = await Program.start(scratch, [
      "tcpdump",
      "--immediate-mode",
      "-i",
      "lo",
      "-U",
      "-s",
      "0",
      "-Z",
      "root",
      "-w",
      file,
    ]);
    await waitFor("tcpdump", () => dump.stderr.includes("listening on"));
    const word = "PlainTextThatNobodyMaySee";
    for (const [app, other] of [
      ["east", "west"],
      ["west", "east"],
    ] as const)
      expect(await machine.curl(app, `http://${other}.internal:8080/${word}`)).toBe(`Hello from ${other}!\n`);
    // Behind everything that was captured before it.
    const last = "TheCaptureHasComeThisFar";
    await waitFor("the end of the capture", async () => {
      await run(["bash", "-c", `echo ${last} > /dev/udp/127.0.0.1/9`], { mayFail: true });
      return fs.readFileSync(file).includes(last);
    });
    dump.signal("SIGINT");
    await dump.exited();
    const show = async (...filter: string[]) => (await run(["tcpdump", "-nnr", file, ...filter])).stdout;
    const bytes = (await run(["grep", "-c", "-a", "-e", word, "-e", "Hello from", file], { mayFail: true })).stdout;
    expect(bytes.trim()).toBe("0");
    const ours = `udp and (port ${ports.join(" or port ")})`;
    // Type 4: transport data; nothing else may carry packets.
    expect(await show(`${ours} and udp[8] == 4`)).not.toBe("");
    expect(await show(`${ours} and not (udp[8] >= 1 and udp[8] <= 4 and udp[9] == 0 and udp[10:2] == 0)`)).toBe("");
    expect(await show("net 10.1.2.0/24")).toBe("");
  });

  it("two networks of equal ranges do not meet", async () => {
    await machine.putNetwork("other");
    const hello = {
      command: machine.script("other", `require("node:http").createServer((q, a) => a.end("other")).listen(8080)`),
    };
    const member = await machine.runApp("other", "lone", { regions: ["ord"], ...hello });
    expect(member.addresses[0]?.ipv4).toBe("10.1.2.3");
    await machine.runApp("other", "asker", { regions: ["iad"], ...hello });
    expect(await machine.curl("asker", "http://10.1.2.3:8080")).toBe("other");
    expect(await machine.curl("west", "http://10.1.2.3:8080")).toMatch(/^Hello from/);
    const names = await machine.exec("asker", ["curl", "-sS", "--max-time", "3", "http://east.internal:8080"], {
      mayFail: true,
    });
    expect(names).toBe("");
    await machine.deleteNetwork("other");
  });
});
