/** The tunnels as WireGuard's own tools see them. */
import * as fs from "node:fs";
import { gatewayInterface } from "../../runtime/uapi/gateway-sockets";
import { describeNeeding } from "../support/needs";
import { run } from "../support/process";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

const FOLDER = "/var/run/wireguard";

describeNeeding(["linux", "root", "tun", "wg"], "wg show of root's gateways", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  const wg = (...args: string[]) => run(["wg", ...args], { mayFail: true });
  const names = async () => {
    const { gateways } = await machine.client.status();
    return gateways.map(({ networkId, hostId }) => gatewayInterface(machine.home.dir, networkId, hostId)).sort();
  };
  const files = () => (fs.existsSync(FOLDER) ? fs.readdirSync(FOLDER) : []);

  it("lists them beside all other interfaces, and tells what `warren wg show` tells everyone", async () => {
    await machine.start();
    await machine.runPair();
    expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
    const [first, second, ...more] = await names();
    expect(more).toEqual([]);
    const listed = (await wg("show", "interfaces")).stdout.trim().split(/\s+/);
    expect(listed).toEqual(expect.arrayContaining([first, second]));
    const { gateways, tunnels } = await machine.client.status();
    for (const name of [first!, second!]) {
      expect(name).toMatch(/^wr-[0-9a-f]{12}$/);
      const own = gateways.find((it) => gatewayInterface(machine.home.dir, it.networkId, it.hostId) === name)!;
      const tunnel = tunnels.find((it) => it.hostId === own.hostId)!;
      expect((await wg("show", name, "listen-port")).stdout.trim()).toBe(String(own.listenPort));
      expect((await wg("show", name, "allowed-ips")).stdout.trim()).toBe(
        `${tunnel.publicKey}\t${tunnel.allowedIps!.join(" ")}`,
      );
      expect((await wg("show", name, "latest-handshakes")).stdout.trim()).toMatch(/\t[1-9][0-9]+$/);
      const { stdout } = await machine.warren(["wg", "show", name]);
      expect(stdout).toContain(
        `interface: ${name}\n  network: net, host ${own.hostId}\n  public key: ${own.publicKey}\n`,
      );
      expect(stdout).toContain(`\npeer: ${tunnel.publicKey}\n  endpoint: ${tunnel.endpoint}\n`);
      expect(stdout).toMatch(/ {2}transfer: [0-9.]+ [KM]?i?B received, [0-9.]+ [KM]?i?B sent\n/);
    }
    expect((await machine.warren(["wg", "show", "net"])).stdout.match(/^interface: /gm)).toHaveLength(2);
    const unknown = await machine.warren(["wg", "show", "other"], { mayFail: true });
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('No network "other" has a gateway here'),
    });
  });

  it("shows no key to anyone, and lets nobody change them", async () => {
    for (const name of await names()) {
      expect(fs.statSync(`${FOLDER}/${name}.sock`).mode & 0o777).toBe(0o600);
      expect((await wg("showconf", name)).stdout).not.toMatch(/PrivateKey|PresharedKey/);
      const { stderr } = await wg("set", name, "listen-port", "1");
      expect(stderr).toBe("Unable to modify interface: Operation not permitted\n");
    }
  });

  it("makes a socket again whose file somebody removed", async () => {
    const [name] = await names();
    fs.rmSync(`${FOLDER}/${name}.sock`);
    await waitFor("the socket", async () => (await wg("show", name!, "listen-port")).code === 0);
  });

  it("comes back after the daemon was killed, and goes with the gateways", async () => {
    const before = await names();
    process.kill((await machine.daemonPid())!, "SIGKILL");
    await machine.ensureDaemon();
    await waitFor("the gateways", async () => {
      const listed = (await wg("show", "interfaces")).stdout;
      return before.every((name) => listed.includes(name));
    });
    await machine.warren(["serve", "--stop"]);
    expect(files().filter((file) => before.includes(file.replace(".sock", "")))).toEqual([]);
  });
});

describeNeeding(["linux", "root", "tun-for-all", "curl"], "warren wg show of a daemon without privileges", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch, { user: "nobody" });

  it("tells of its gateways what wg show tells of root's, with no key and no socket for wg", async () => {
    await machine.start();
    await machine.runPair();
    expect(await machine.curl("east", "http://west.internal:8080")).toBe("Hello from west!\n");
    const { gateways, tunnels } = await machine.client.status();
    expect(gateways).toHaveLength(2);
    const { stdout } = await machine.warren(["wg", "show"]);
    for (const { networkId, hostId, publicKey } of gateways) {
      const name = gatewayInterface(machine.home.dir, networkId, hostId);
      expect(stdout).toContain(`interface: ${name}\n  network: net, host ${hostId}\n  public key: ${publicKey}\n`);
      expect(fs.existsSync(`${FOLDER}/${name}.sock`)).toBe(false);
    }
    for (const { publicKey, endpoint } of tunnels)
      expect(stdout).toContain(`\npeer: ${publicKey}\n  endpoint: ${endpoint}\n`);
    expect(stdout.match(/^ {2}latest handshake: /gm)).toHaveLength(2);
    expect(stdout).not.toMatch(/private key: (?!\(hidden\))|preshared key: (?!\(hidden\))/);
  });
});
