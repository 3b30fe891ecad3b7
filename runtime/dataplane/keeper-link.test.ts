/** Links that the keeper holds: with root and without any privileges, and over a restart of the data plane. */
import * as path from "node:path";
import { newKeyPair } from "../../test/support/keys";
import { describeNeeding } from "../../test/support/needs";
import { Program } from "../../test/support/process";
import { useScratch } from "../../test/support/scratch";
import {
  describeAccounts,
  inside,
  makeHome,
  type RunningKeeper,
  sandboxSpec,
  startKeeper,
} from "../keeper/testing/keepers";
import type { DataPlaneConfig, GatewayConfig } from "./config";

const BUILT = path.join(__dirname, "../../dist/runtime/dataplane/dataplane.js");

/** A process of the account that runs the data plane: each line of input is a configuration, each line of output its result. */
const PROGRAM = `
  const { DataPlane } = require(${JSON.stringify(BUILT)});
  DataPlane.start({ keeperSocket: process.argv[1], log: (m) => console.error(m) }).then((plane) =>
    require("readline").createInterface({ input: process.stdin }).on("line", async (line) =>
      console.log(JSON.stringify(await plane.apply(JSON.parse(line))))));`;

/** Takes two megabytes over TCP and prints their hash. */
const TAKE = `
  require("net").createServer((s) => {
    const hash = require("crypto").createHash("sha256");
    s.on("data", (d) => hash.update(d)).on("end", () => { s.end(); console.log(hash.digest("hex")); });
  }).listen(8080, "::", () => console.log("ready"));`;

/** Sends two megabytes to port 8080 of its argument and prints their hash. */
const GIVE = `
  const crypto = require("crypto");
  const bytes = crypto.randomBytes(2000000);
  require("net").connect(8080, process.argv[1]).end(bytes).resume().on("close", () =>
    console.log(crypto.createHash("sha256").update(bytes).digest("hex")));`;

const as = (uid: number): string[] =>
  uid === process.getuid!() ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];

describeNeeding(["linux", "tun", "ping"], "links of the keeper", () => {
  const scratch = useScratch();

  describeAccounts("as", (who) => {
    let keeper: RunningKeeper;
    const east = newKeyPair();
    const west = newKeyPair();

    const gateway = (
      id: string,
      own: typeof east,
      other: typeof east,
      last: number,
      remote: number,
    ): GatewayConfig => ({
      id,
      port: id,
      privateKey: own.privateKey,
      mtu: 1420,
      gatewayIps: ["10.1.2.1", "fd00::1"],
      dnsIps: ["10.1.2.2", "fd00::2"],
      links: [
        {
          id: `${id}.0`,
          source: { kind: "keeper", sandbox: `${id}.0` },
          addresses: [`10.1.2.${last}`, `fd00::${last}`],
        },
      ],
      peers: [
        {
          publicKey: other.publicKey,
          allowedIps: [`10.1.2.${remote}/32`, `fd00::${remote}/128`],
          persistentKeepalive: 0,
          initiate: false,
          gateway: true,
        },
      ],
    });

    const config = (ports: Record<string, number>): DataPlaneConfig => {
      const endpoint = (g: GatewayConfig, port: number | undefined): GatewayConfig =>
        port === undefined ? g : { ...g, peers: g.peers.map((p) => ({ ...p, endpoint: `127.0.0.1:${port}` })) };
      return {
        ports: ["e", "w"].map((id) => ({ id, listen: ["127.0.0.1"], port: ports[id] ?? 0 })),
        gateways: [
          endpoint(gateway("e", east, west, 4, 5), ports.w),
          endpoint(gateway("w", west, east, 5, 4), ports.e),
        ],
      };
    };

    async function run(): Promise<{
      program: Program;
      apply: (c: DataPlaneConfig) => Promise<Record<string, number>>;
    }> {
      const program = await Program.start(scratch, [
        ...as(who.uid),
        process.execPath,
        "-e",
        PROGRAM,
        keeper.home.keeperSocket,
      ]);
      const apply = async (c: DataPlaneConfig): Promise<Record<string, number>> => {
        program.stdout = "";
        program.child.stdin!.write(`${JSON.stringify(c)}\n`);
        const [line] = await program.said(/.*\n/);
        const result = JSON.parse(line);
        expect(result.problems).toEqual([]);
        return result.ports;
      };
      return { program, apply };
    }

    const ping = (sandbox: string, to: string): Promise<string> =>
      inside(keeper, sandbox, "ping", "-n", "-c", "1", "-W", "3", to);

    beforeAll(async () => {
      keeper = await startKeeper(scratch, who, makeHome(scratch, who, `link-${who.uid}`));
      for (const [id, last] of [["e.0", 4] as const, ["w.0", 5] as const])
        await keeper.client.call(
          "ensureSandbox",
          // One takes big packets, as the agent asks for; the other is plain, as an older daemon's.
          sandboxSpec(id, { addresses: [`10.1.2.${last}`, `fd00::${last}`], vnetHeader: id === "e.0" }),
        );
    });

    test("apps reach each other; kill -9 of the data plane costs a handshake", async () => {
      const first = await run();
      const ports = await first.apply(config({}));
      await first.apply(config(ports));
      expect(await ping("e.0", "10.1.2.5")).toMatch(/1 received/);
      expect(await ping("w.0", "fd00::4")).toMatch(/1 received/);
      await first.program.kill();
      const second = await run();
      expect(await second.apply(config(ports))).toEqual(ports);
      expect(await ping("w.0", "10.1.2.4")).toMatch(/1 received/);
      for (const [from, to, address] of [
        ["e.0", "w.0", "10.1.2.5"],
        ["w.0", "e.0", "fd00::4"],
      ] as const) {
        const { sandboxes } = await keeper.client.call("list", {});
        const enter = sandboxes.find(({ spec }) => spec.id === to)!.enter;
        const server = await Program.start(scratch, [...as(who.uid), ...enter, process.execPath, "-e", TAKE]);
        await server.said(/ready/);
        const sent = await inside(keeper, from, process.execPath, "-e", GIVE, address);
        const [got] = await server.said(/[0-9a-f]{64}/);
        expect(got).toBe(sent.trim());
        await server.stop();
      }
      await second.program.stop();
    });
  });
});
