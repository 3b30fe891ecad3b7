/** The example node-member: a process that is a member by itself, ports of this machine that lead into a network, and dial by name. */
import * as dgram from "node:dgram";
import * as fs from "node:fs";
import * as path from "node:path";
import * as dnsPacket from "dns-packet";
import { describeNeeding, nobodyReads } from "../support/needs";
import { Program, run } from "../support/process";
import { ROOT } from "../support/repo";
import { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { AS_NOBODY, WITHOUT_CAPABILITIES } from "../support/without";
import { Stage } from "./stage";

/** Where that account cannot read the repository, as whoever runs the tests. */
const UNPRIVILEGED = nobodyReads(ROOT) ? [...AS_NOBODY, ...WITHOUT_CAPABILITIES] : [];

const WARREN = path.join(ROOT, "dist", "cli", "warren.js");

describeNeeding(["linux", "curl"], "node-member", () => {
  const scratch = new Scratch();
  let stage: Stage;
  let dir: string;
  beforeAll(async () => {
    stage = new Stage(scratch);
    dir = stage.copy("node-member");
    await stage.stack("up", dir);
  }, 120_000);
  afterAll(() => scratch.dispose(), 60_000);
  const env = () => ({ WARREN_HOME: stage.home });

  it("joins with a peer's config, as a process with no privileges", async () => {
    const file = path.join(dir, "script.conf");
    fs.writeFileSync(file, await stage.output(dir, "scriptConfig"), { mode: 0o644 });
    const { stdout } = await run([...UNPRIVILEGED, process.execPath, path.join(dir, "member.mjs"), file], {
      timeout: 30_000,
    });
    expect(stdout).toBe("Hello, 10.40.0.3!\nYou found 10.40.0.3:9000.\nHTTP/1.1 200 OK\n");
  }, 60_000);

  it("warren proxy: the ports of this machine that the README names, TCP and UDP, and one that leads nowhere", async () => {
    const [, command] = /^warren proxy (.+)$/m.exec(fs.readFileSync(path.join(dir, "README.md"), "utf8"))!;
    const forwards = [...command!.split(" ").map((forward) => forward.replace(/^\d+/, "0")), "0:nobody:80"];
    const proxy = await Program.start(scratch, [process.execPath, WARREN, "--json", "proxy", ...forwards], {
      env: env(),
    });
    await proxy.said(/\n\}\n/);
    const said = JSON.parse(proxy.stdout) as { forwards: { local: string; protocol: string; to: string }[] };
    expect(said.forwards.map(({ protocol, to }) => `${to} ${protocol}`)).toEqual([
      "api:8080 tcp",
      "10.40.0.4:8080 tcp",
      "api:8080 udp",
      "10.40.0.2:53 udp",
      "nobody:80 tcp",
    ]);
    const [byName, byAddress, datagrams, names, nobody] = said.forwards.map(({ local }) => local);
    for (const web of [byName, byAddress]) {
      const hello = await waitFor(
        "an answer",
        async () => (await run(["curl", "-sS", "--fail", `http://${web}`])).stdout,
      );
      expect(hello).toMatch(/^Hello, 10\.40\.0\.\d+!\n$/);
    }
    expect((await datagram(datagrams!, Buffer.from("Good day"))).toString()).toMatch(/^Good day, 10\.40\.0\.\d+!$/);
    const question = { type: "A" as const, name: "api.internal" };
    const reply = await datagram(names!, dnsPacket.encode({ type: "query", id: 1, questions: [question] }));
    expect(dnsPacket.decode(reply).answers).toMatchObject([{ data: "10.40.0.4" }]);

    const refused = await run(["curl", "-sS", "-m", "5", `http://${nobody}`], { mayFail: true });
    expect(refused.code).not.toBe(0);
    expect(proxy.stderr).toMatch(/nobody/);
  }, 60_000);

  it("a script without a key, by the network's name through the daemon", async () => {
    const { stdout } = await run([process.execPath, path.join(dir, "script.mjs")], { env: env() });
    expect(stdout).toMatch(/^Hello, 10\.40\.0\.\d+!\nHTTP\/1\.1 200 OK\n$/);
  }, 60_000);

  it("dial says why it fails", async () => {
    const script = `
      const { dial } = require("pulumi-warren/net");
      (async () => {
        for (const [network, target] of [["club", "api:1"], ["club", "nobody:80"], ["none", "api:80"]])
          await dial(network, target).then(() => console.log("?"), (error) => console.log(error.code));
      })();`;
    const { stdout } = await run([process.execPath, "-e", script], { cwd: dir, env: env() });
    expect(stdout).toBe("WARREN_UNREACHABLE\nWARREN_NOT_FOUND\nWARREN_NOT_FOUND\n");
  }, 60_000);
});

/** What answers a datagram. @param to `127.0.0.1:PORT` */
function datagram(to: string, data: Uint8Array): Promise<Buffer> {
  const [host, port] = to.split(":") as [string, string];
  const socket = dgram.createSocket("udp4");
  return new Promise<Buffer>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer from ${to}`)), 10_000);
    socket.once("message", (message) => {
      clearTimeout(timer);
      resolve(message);
    });
    socket.send(data, Number(port), host);
  }).finally(() => socket.close());
}
