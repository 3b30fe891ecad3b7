/** The example node-member: a process that is a member by itself, ports of this machine that lead into a network, and dial by name. */
import * as fs from "node:fs";
import * as path from "node:path";
import { describeNeeding, nobodyReads } from "../support/needs";
import { Program, run } from "../support/process";
import { ROOT } from "../support/repo";
import { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { AS_NOBODY, WITHOUT_CAPABILITIES } from "../support/without";
import { Stage } from "./stage";

/** Where that account cannot read the repository, as whoever runs the tests. */
const UNPRIVILEGED = nobodyReads(ROOT) ? [...AS_NOBODY, ...WITHOUT_CAPABILITIES] : [];

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

  it("joins with a peer's config, as a process with no privileges", async () => {
    const file = path.join(dir, "script.conf");
    fs.writeFileSync(file, await stage.output(dir, "scriptConfig"), { mode: 0o644 });
    const { stdout } = await run([...UNPRIVILEGED, process.execPath, path.join(dir, "member.mjs"), file], {
      timeout: 30_000,
    });
    expect(stdout).toBe("Hello, 10.40.0.3!\nYou found 10.40.0.3:9000.\nHTTP/1.1 200 OK\n");
  }, 60_000);

  it("warren proxy: ports of this machine, TCP and UDP", async () => {
    const argv = [process.execPath, path.join(ROOT, "dist", "cli", "warren.js")];
    const env = { WARREN_HOME: stage.home };
    const proxy = await Program.start(
      scratch,
      [...argv, "--json", "proxy", "0:api:8080", "0:10.40.0.2:53/udp", "0:nobody:80"],
      { env },
    );
    await proxy.said(/\n\}\n/);
    const { forwards } = JSON.parse(proxy.stdout) as { forwards: { local: string }[] };
    const [web, names, nobody] = forwards.map(({ local }) => local);
    const hello = await waitFor(
      "an answer",
      async () => (await run(["curl", "-sS", "--fail", `http://${web}`])).stdout,
    );
    expect(hello).toMatch(/^Hello, 10\.40\.0\.\d+!\n$/);

    const script = `
      const packet = require("dns-packet"), socket = require("dgram").createSocket("udp4");
      socket.on("message", (m) => { console.log(packet.decode(m).answers[0].data); process.exit(); });
      socket.send(packet.encode({ type: "query", id: 1, questions: [{ type: "A", name: "api.internal" }] }), ${names.split(":")[1]}, "127.0.0.1");`;
    expect((await run([process.execPath, "-e", script], { cwd: ROOT })).stdout).toBe("10.40.0.4\n");

    const refused = await run(["curl", "-sS", "-m", "5", `http://${nobody}`], { mayFail: true });
    expect(refused.code).not.toBe(0);
    expect(proxy.stderr).toMatch(/nobody/);
  }, 60_000);

  it("dial and fetch by the network's name, through the daemon", async () => {
    const script = `
      const { dial, dispatcher } = require("pulumi-warren/net");
      (async () => {
        const club = dispatcher("club");
        console.log((await (await fetch("http://api.internal:8080", { dispatcher: club })).text()).trim());
        await club.close();
        const stream = await dial("club", "api:8080");
        stream.end("HEAD / HTTP/1.0\\r\\n\\r\\n");
        for await (const part of stream) console.log(String(part).split("\\r\\n")[0]);
        for (const [network, target] of [["club", "api:1"], ["club", "nobody:80"], ["none", "api:80"]])
          await dial(network, target).then(() => console.log("?"), (error) => console.log(error.code));
      })();`;
    const { stdout } = await run([process.execPath, "-e", script], { cwd: dir, env: { WARREN_HOME: stage.home } });
    expect(stdout).toMatch(
      /^Hello, 10\.40\.0\.\d+!\nHTTP\/1\.1 200 OK\nWARREN_UNREACHABLE\nWARREN_NOT_FOUND\nWARREN_NOT_FOUND\n$/,
    );
  }, 60_000);
});
