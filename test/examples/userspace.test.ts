/**
 * The examples and the demo, unchanged, where there is nothing: WARREN_LINK=userspace as nobody, with no capabilities, no koffi and no
 * /dev/net/tun. One daemon serves them all; peer-laptop, which needs a laptop, has its test beside the others of its kind.
 */
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { describeNeeding } from "../support/needs";
import { run } from "../support/process";
import { ROOT } from "../support/repo";
import { Scratch } from "../support/scratch";
import { NOTHING, pathWithoutGo, Stage, values } from "./stage";

describeNeeding(["linux", "root", "nobody", "curl"], "on the link userspace, with nothing", () => {
  const scratch = new Scratch();
  let stage: Stage;
  beforeAll(() => {
    const env = { WARREN_LINK: "userspace", PATH: pathWithoutGo(scratch) };
    stage = new Stage(scratch, { unprivileged: "with-nothing", env });
  });
  afterAll(() => scratch.dispose(), 60_000);

  it("really has nothing", async () => {
    const env = { PATH: process.env.PATH! };
    const said = await stage.run(["sh", "-c", "cat /proc/self/status; ls /dev/net; id -u"], { env });
    expect(said.stdout).toMatch(/^CapEff:\s+0+$/m);
    expect(said.stdout).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(said.stdout.endsWith("\n65534\n")).toBe(true);
    expect(said.stdout).not.toContain("tun");
    const koffi = await stage.run([process.execPath, "-e", `require("koffi")`], { cwd: ROOT, mayFail: true });
    expect(koffi.stderr).toContain("MODULE_NOT_FOUND");
  });

  it("fly-tutorial: both apps on one port, by address and by name", async () => {
    const dir = stage.copy("fly-tutorial");
    const addresses = { eastIp: "10.1.2.4", westIp: "10.1.2.5" };
    expect(values(await stage.stack("preview", dir))).toMatchObject(addresses);
    expect(values(await stage.stack("up", dir))).toMatchObject(addresses);
    const { link, linkReason, instances } = await stage.json<{
      link: string;
      linkReason: string;
      instances: { link: string; state: string }[];
    }>("status");
    expect([link, linkReason]).toEqual(["userspace", expect.stringContaining("WARREN_LINK=userspace")]);
    expect(instances.map((instance) => `${instance.state} ${instance.link}`)).toEqual(
      Array(2).fill("healthy userspace"),
    );
    expect(await stage.curlFrom("api-service-east", "http://10.1.2.5:8080")).toBe("Hello from api-service-west!\n");
    expect(await stage.curlFrom("api-service-west", "http://10.1.2.4:8080")).toBe("Hello from api-service-east!\n");
    expect(await stage.curlFrom("api-service-east", "http://api-service-west.internal:8080")).toBe(
      "Hello from api-service-west!\n",
    );
    expect((await stage.stack("up", dir)).counts).toMatchObject({ ...NOTHING, same: 5 });
  }, 120_000);

  it("two-stacks: an app of another stack asks the clock by name", async () => {
    await stage.stack("up", stage.copy("two-stacks/platform"));
    await stage.stack("up", stage.copy("two-stacks/service"));
    expect(await stage.curlFrom("reader", "http://reader.internal:8080")).toMatch(/^The clock says \d{4}-\d\d-\d\dT/);
  }, 120_000);

  it("existing-service: what runs already is reached by its name", async () => {
    const upstream = net.createServer((socket) => socket.end()).listen(0, "127.0.0.1");
    try {
      await new Promise((resolve) => upstream.once("listening", resolve));
      const { port } = upstream.address() as net.AddressInfo;
      await stage.stack("up", stage.copy("existing-service"), "-c", `upstream=127.0.0.1:${port}`);
      expect(await stage.curlFrom("client", "http://client.internal:8080")).toBe(
        "connected to database.internal (10.30.0.3)\n",
      );
    } finally {
      upstream.close();
    }
  }, 120_000);

  it("node-member: a process joins by itself; the app that it asks sees loopback", async () => {
    const dir = stage.copy("node-member");
    await stage.stack("up", dir);
    const file = path.join(dir, "script.conf");
    fs.writeFileSync(file, await stage.output(dir, "scriptConfig"), { mode: 0o644 });
    const { stdout } = await stage.run([process.execPath, path.join(dir, "member.mjs"), file], { cwd: dir });
    expect(stdout).toBe("Hello, 127.0.0.1!\nYou found 10.40.0.3:9000.\nHTTP/1.1 200 OK\n");
    const script = await stage.run([process.execPath, path.join(dir, "script.mjs")], { cwd: dir });
    expect(script.stdout).toBe("Hello, 127.0.0.1!\nHTTP/1.1 200 OK\n");
  }, 120_000);

  it("and the demo", async () => {
    // The demo builds what is out of date, which nobody may not do here.
    await run([process.execPath, path.join(ROOT, "tools", "setup.mjs")], { timeout: 60_000 });
    const { stdout } = await stage.run([process.execPath, path.join(ROOT, "demo.mjs")], { cwd: ROOT });
    expect(stdout).toMatch(/\nAll of it came true, and nothing is left of it\.\n$/);
    expect(stdout).toContain("Hello from api-service-west!");
  }, 120_000);
});
