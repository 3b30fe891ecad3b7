/** The example fly-tutorial on the embedded engine: what its README says is true. */
import * as fs from "node:fs";
import * as path from "node:path";
import { describeNeeding, findProgram, type Need } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { edit, NOTHING, pathWithoutGo, Stage, values } from "./stage";

const ADDRESSES = { eastIp: "10.1.2.4", westIp: "10.1.2.5" };
const NEEDS: readonly Need[] = ["linux", "tun", "ip", "curl"];

interface App {
  name: string;
  addresses: { slot: string }[];
  instances: { state: string; pid: number }[];
}

describeNeeding(NEEDS, "fly-tutorial where there is no Go", () => {
  const scratch = useScratch();
  const stage = new Stage(scratch, { env: { PATH: pathWithoutGo(scratch) } });
  const dir = stage.copy("fly-tutorial");

  it("tells the story: preview, up, table, curls, nothing left", async () => {
    const preview = await stage.stack("preview", dir);
    expect(preview.counts).toMatchObject({ ...NOTHING, create: 5 });
    expect(values(preview)).toMatchObject(ADDRESSES);
    expect(fs.existsSync(path.join(stage.home, "registry.sqlite"))).toBe(false);

    const up = await stage.stack("up", dir);
    expect(up.counts).toMatchObject({ ...NOTHING, create: 5 });
    expect(values(up)).toMatchObject({ ...ADDRESSES, config: "[secret]" });
    expect(await stage.output(dir, "config")).toMatch(/^Address = 10\.1\.2\.3\/24$/m);

    expect((await stage.warren(["peers"])).stdout).toBe(
      [
        "PEER NAME            APP NAME           REGION   VIRTUAL IP",
        "my-private-network   api-service-east   ord      10.1.2.4",
        "my-private-network   api-service-west   iad      10.1.2.5",
        "laptop               -                  -        10.1.2.3",
        "",
      ].join("\n"),
    );
    const apps = await stage.json<App[]>("apps");
    expect(apps.map((app) => app.instances.map((instance) => instance.state))).toEqual([["healthy"], ["healthy"]]);
    const hello = (name: string) => `Hello from ${name}!\n`;
    expect(await stage.curlFrom("api-service-east", "http://10.1.2.5:8080")).toBe(hello("api-service-west"));
    expect(await stage.curlFrom("api-service-west", "http://10.1.2.4:8080")).toBe(hello("api-service-east"));
    const byName = "http://api-service-west.internal:8080";
    expect(await stage.curlFrom("api-service-east", byName)).toBe(hello("api-service-west"));
    expect((await stage.warren(["logs", "api-service-east"])).stdout).toContain("listening on port 8080");

    expect((await stage.stack("refresh", dir)).counts).toMatchObject(NOTHING);
    expect((await stage.stack("up", dir)).counts).toMatchObject({ ...NOTHING, same: 5 });

    await stage.stack("destroy", dir);
    expect(await stage.json("networks")).toEqual([]);
    expect(await stage.json("peers")).toEqual([]);
    const inFolder = () => stage.processes().filter((line) => line.includes("server.js"));
    await waitFor("the end of the apps", () => inFolder().length === 0);
  }, 300_000);
});

describeNeeding([...NEEDS, "go"], "fly-tutorial with its Go server", () => {
  const scratch = useScratch();
  const go = path.dirname(findProgram("go") ?? "");
  const stage = new Stage(scratch, { env: { PATH: `${process.env.PATH}${path.delimiter}${go}` } });
  const dir = stage.copy("fly-tutorial");
  const pidOf = async (name: string) =>
    (await stage.json<App[]>("apps")).find((a) => a.name === name)!.instances[0].pid;

  it("answers; changed code restarts the apps at their addresses, a moved app keeps its own", async () => {
    expect(values(await stage.stack("up", dir))).toMatchObject(ADDRESSES);
    expect(fs.existsSync(path.join(dir, "build", "go", "server"))).toBe(true);
    const ask = () => stage.curlFrom("api-service-east", "http://10.1.2.5:8080");
    expect(await ask()).toBe("Hello from api-service-west!\n");

    edit(path.join(dir, "server", "main.go"), "Hello from", "Good day from");
    const changed = await stage.stack("up", dir);
    expect(changed.counts).toMatchObject({ ...NOTHING, update: 2 });
    expect(values(changed)).toMatchObject(ADDRESSES);
    expect(await ask()).toBe("Good day from api-service-west!\n");

    const east = await pidOf("api-service-east");
    edit(path.join(dir, "index.ts"), `region: "iad"`, `region: "fra"`);
    const moved = await stage.stack("up", dir);
    expect(moved.counts).toMatchObject({ ...NOTHING, update: 1 });
    expect(values(moved)).toMatchObject(ADDRESSES);
    expect((await stage.warren(["peers"])).stdout).toMatch(/api-service-west +fra +10\.1\.2\.5/);
    expect(await ask()).toBe("Good day from api-service-west!\n");
    expect(await pidOf("api-service-east")).toBe(east);

    await stage.stack("destroy", dir);
    expect(await stage.json("networks")).toEqual([]);
  }, 300_000);
});
