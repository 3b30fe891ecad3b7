import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { packSource } from "../../provider/core/source";
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

const HTTP = { type: "http", path: "/", interval: 0.2, timeout: 2, threshold: 2 } as const;
const NONE = { type: "none", interval: 1, timeout: 1, threshold: 1 } as const;

describeNeeding(["linux", "root", "tun", "curl"], "apps of several instances and regions", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  beforeAll(async () => {
    await machine.start();
    await machine.putNetwork("net");
    await machine.runApp("net", "client", { command: ["sleep", "1000"], health: NONE });
  }, 30_000);
  const resolve = async (name: string) => {
    const code = `require("dns").resolve4("${name}", (e, list) => console.log(JSON.stringify(e ? [] : list.sort())))`;
    return JSON.parse(await machine.exec("client", [process.execPath, "-e", code]));
  };

  it("have an address for each instance, and all of them under one name", async () => {
    await machine.runApp("net", "many", { regions: ["ord", "iad"], instances: 2 });
    const instances = await machine.instances("many");
    expect(instances.map(({ slot, region }) => [slot, region])).toEqual([
      ["ord/0", "ord"],
      ["ord/1", "ord"],
      ["iad/0", "iad"],
      ["iad/1", "iad"],
    ]);
    const addresses = instances.map(({ ipv4 }) => ipv4!);
    expect(addresses).toEqual(["10.1.2.4", "10.1.2.5", "10.1.2.6", "10.1.2.7"]);
    expect(await resolve("many.internal")).toEqual(addresses);
    for (const address of addresses)
      expect(await machine.curl("client", `http://${address}:8080`)).toBe("Hello from many!\n");
  });

  it("lose the unhealthy from their name while another is healthy, and get it back", async () => {
    const flag = scratch.file("sick");
    const command = machine.script(
      "moody",
      `const fs = require("node:fs");
      require("node:http").createServer((q, a) => {
        const sick = fs.existsSync(${JSON.stringify(flag)}) && process.env.FLY_REGION === "iad";
        a.writeHead(sick ? 503 : 200); a.end();
      }).listen(process.env.PORT);`,
    );
    await machine.runApp("net", "moody", { regions: ["ord", "iad"], command, health: HTTP });
    const [ord, iad] = (await machine.instances("moody")).map(({ ipv4 }) => ipv4!);
    expect(await resolve("moody.internal")).toEqual([ord, iad]);
    fs.writeFileSync(flag, "");
    await waitFor("its fall", async () => (await machine.instances("moody"))[1]?.state === "unhealthy");
    expect((await machine.instances("moody"))[1]?.detail).toContain("503");
    expect(await resolve("moody.internal")).toEqual([ord]);
    fs.rmSync(flag);
    await waitFor("its recovery", async () => (await machine.instances("moody"))[1]?.state === "healthy");
    expect(await resolve("moody.internal")).toEqual([ord, iad]);
  });

  it("move to another region with their address", async () => {
    const before = await machine.runApp("net", "nomad", { regions: ["ord"] });
    const id = before.id;
    const slot = { slot: "lhr/0", ipv4: before.addresses[0]?.ipv4 };
    const after = await machine.client.putMember("net", "nomad", {
      owner: machine.ownerOf("nomad"),
      name: "nomad",
      kind: "app",
      app: { ...before.app!, regions: ["lhr"] },
      addresses: [slot],
      known: { id, registryId: before.registryId },
    });
    expect(after).toMatchObject({ id, addresses: [slot] });
    expect((await machine.client.ready(id, 20)).ready).toBe(true);
    expect(await machine.instance("nomad")).toMatchObject({ region: "lhr", ipv4: slot.ipv4 });
    expect(await machine.curl("client", "http://nomad.internal:8080")).toBe("Hello from nomad!\n");
    const { tunnels, members } = await machine.client.status();
    const host = (await machine.client.status()).hosts.find(({ region }) => region === "lhr")!.id;
    expect(members.filter(({ name }) => name === "nomad")).toHaveLength(1);
    expect(tunnels.filter(({ remote, latestHandshake }) => remote === host && latestHandshake)).not.toEqual([]);
  });

  it("stand for something that runs outside: upstream answers at the private address", async () => {
    const server = http.createServer((_, answer) => answer.end("from the host\n")).listen(0, "127.0.0.1");
    scratch.defer(() => void server.close());
    await waitFor("the server", () => server.listening);
    const upstream = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    await machine.runApp("net", "outside", { regions: ["iad"], upstream, port: 80 });
    // Each of many connections is served.
    const loop = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do curl -sS --max-time 5 http://outside.internal; done";
    expect(await machine.exec("client", ["sh", "-c", loop], { timeout: 90_000 })).toBe("from the host\n".repeat(12));
    expect((await machine.instance("outside")).pid).toBeUndefined();
    const logs = await machine.warren(["logs", "outside"], { mayFail: true });
    expect(logs).toMatchObject({ code: 1, stderr: `warren: outside has no log here: ${upstream} runs on its own.\n` });
    server.closeAllConnections();
    server.close();
    await waitFor("its fall", async () => (await machine.instance("outside")).state === "unhealthy");
  });

  it("run as the unprivileged account, or as the one that they name", async () => {
    const command = [
      "sh",
      "-c",
      "id -u; id -g; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; exec sleep 1000",
    ];
    await machine.runApp("net", "plain", { command, health: NONE });
    await machine.runApp("net", "named", { command, health: NONE, user: "daemon" });
    const said = async (app: string) =>
      waitFor("its output", async () => {
        const { stdout } = await machine.warren(["logs", app]);
        return stdout.includes("NoNewPrivs") && stdout.split("\n");
      });
    const plain = await said("plain");
    expect(plain.slice(0, 2)).toEqual(["65534", "65534"]);
    expect(plain).toContain("NoNewPrivs:\t1");
    expect(plain).toContain("CapEff:\t0000000000000000");
    expect((await said("named")).slice(0, 2)).toEqual(["1", "1"]);
    expect((await machine.exec("named", ["id", "-u"])).trim()).toBe("1");
  });

  it("run from a delivered source, and anew when its content has changed", async () => {
    const folder = fs.mkdtempSync(path.join(scratch.dir, "source-"));
    fs.chmodSync(folder, 0o700);
    const write = (text: string) =>
      fs.writeFileSync(
        path.join(folder, "main.js"),
        `require("node:http").createServer((q, a) => a.end("${text}")).listen(process.env.PORT)`,
      );
    const deliver = async () => {
      const { hash, file, remove } = await packSource(folder);
      if (!(await machine.client.hasSource(hash))) await machine.client.putSource(hash, file);
      await remove();
      await machine.runApp("net", "packed", {
        command: [process.execPath, "main.js"],
        cwd: ".",
        sourceHash: hash,
        health: HTTP,
      });
      return { hash, pid: (await machine.instance("packed")).pid };
    };
    write("one");
    const { pid: first, hash: old } = await deliver();
    expect(await machine.curl("client", "http://packed.internal:8080")).toBe("one");
    expect((await deliver()).pid).toBe(first);
    write("two");
    await deliver();
    const second = await waitFor("the new code", async () => {
      const { pid, state } = await machine.instance("packed");
      return state === "healthy" && pid !== first && pid;
    });
    expect(second).not.toBe(first);
    expect(await machine.curl("client", "http://packed.internal:8080")).toBe("two");
    const id = (await machine.instance("packed")).memberId;
    // What was delivered long ago and is used no more goes with the next look at the app.
    fs.utimesSync(path.join(machine.home.sources, old), 0, 0);
    await machine.client.ready(id, 1);
    expect(fs.readdirSync(machine.home.sources)).not.toContain(old);
  });

  it("say which folder their account may not enter, and are mended by the next put", async () => {
    const folder = fs.mkdtempSync(path.join(scratch.dir, "private-"));
    fs.chmodSync(folder, 0o700);
    fs.writeFileSync(path.join(folder, "run.sh"), "#!/bin/sh\nexec sleep 1000\n", { mode: 0o755 });
    const spec = { command: ["./run.sh"], cwd: folder, health: NONE };
    const { id } = await machine.putApp("net", "shut", spec);
    expect(await machine.client.ready(id, 20)).toMatchObject({
      ready: false,
      failed: `instance ord/0 of shut is failed: user nobody may not enter ${folder}: give source or user`,
    });
    await machine.runApp("net", "shut", { ...spec, user: "root" });
  });
});
