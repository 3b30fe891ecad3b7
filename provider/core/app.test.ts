import * as fs from "node:fs";
import * as path from "node:path";
import { Driven, hidden, World } from "../testing/context";
import { app } from "./app";
import { InitFailure, type Props } from "./crud";
import { network } from "./network";
import { UNKNOWN } from "./unknown";

let world: World;
let net: Driven;
let space: unknown;
beforeEach(async () => {
  world = new World();
  net = new Driven(world, network);
  await net.up({ name: "shop", cidr: "10.1.2.0/24", ...hidden("Network", "shop") });
  space = net.outs.space;
});
afterEach(() => world.close());

const news = (name: string, inputs: object = {}, stack = "dev"): Props => ({
  name,
  network: "shop",
  networkId: net.id,
  space,
  before: [],
  command: ["./server"],
  ...inputs,
  ...hidden("App", name, stack),
});

describe("check", () => {
  it.each([
    [{ command: undefined }, "command", /"command" to run, or the "upstream"/],
    [{ command: [] }, "command", /first element/],
    [{ command: "server" }, "command", /list of strings/],
    [{ upstream: "127.0.0.1:5432" }, "upstream", /not both/],
    [{ command: undefined, upstream: "5432" }, "upstream", /host:port/],
    [{ command: undefined, upstream: "h:1", env: { A: "b" } }, "env", /no meaning/],
    [{ env: { "1A": "b" } }, "env.1A", /letters, digits/],
    [{ env: { PORT: "1" } }, "env.PORT", /set "port" instead/],
    [{ env: { WARREN_REGION: "x" } }, "env.WARREN_REGION", /Warren itself/],
    [{ env: { A: 1 } }, "env.A", /string/],
    [{ port: 65536 }, "port", /65535/],
    [{ health: { type: "udp" } }, "health.type", /tcp, http, none/],
    [{ health: { path: "healthz" } }, "health.path", /begin it/],
    [{ health: { every: 1 } }, "health.every", /no input/],
    [{ health: "tcp", port: 0 }, "health.type", /listens on no port/],
    [{ restart: "sometimes" }, "restart", /always, on-failure, never/],
    [{ egress: "yes" }, "egress", /true or false/],
    [{ requireLoopback: 1 }, "requireLoopback", /true or false/],
    [{ limits: { memory: 1 } }, "limits", /not supported yet/],
    [{ allow: "web" }, "allow", /must be a list/],
    [{ allow: ["Web"] }, "allow[0]", /no name of a member/],
    [{ allow: [{ from: "web", ports: 9 }] }, "allow[0].ports", /Nobody reaches api:8080, .* opens tcp 9 only/],
    [{ allow: [{ from: "web", protocol: "icmp" }] }, "allow[0]", /Nobody reaches api:8080/],
    [{ allow: [{ from: "web", ports: 9 }], port: 0 }, "allow[0].ports", /listens on no port/],
    [{ allow: ["peer:web"], before: [{ name: "web", kind: "app" }] }, "allow[0].from", /web is an app, write app:web/],
    [{ region: "vms" }, "region", /vms\.APP is a name of its own/],
    [{ instances: 0 }, "instances", /from 1/],
    [{ region: "ord", regions: ["iad"] }, "regions", /not both/],
    [{ region: "ORD" }, "region", /no DNS label/],
    [{ source: "./nowhere" }, "source", /cannot be read/],
    [{ before: [{ name: "api", kind: "peer" }] }, "name", /its own/],
  ])("refuses %j", async (inputs, property, reason) => {
    const { failures } = await app.check(world.ctx, {}, news("api", inputs));
    expect(failures.map((f) => f.property)).toContain(property);
    expect(failures.find((f) => f.property === property)!.reason).toMatch(reason);
  });

  it("refuses a region that the network does not have", async () => {
    const { failures } = await app.check(
      world.ctx,
      {},
      news("api", { region: "lhr", space: { ...(space as object), regions: ["ord", "iad"] } }),
    );
    expect(failures).toEqual([{ property: "region", reason: expect.stringMatching(/ord, iad/) }]);
  });

  it("fills in what follows from the inputs", async () => {
    const { inputs } = await app.check(world.ctx, {}, news("api", { regions: ["ord", "iad"], instances: 2 }));
    expect(inputs).toMatchObject({
      privateIp: "10.1.2.3",
      privateIps: ["10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"],
      hostname: "api.internal",
      url: "http://api.internal:8080",
      port: 8080,
      restart: "always",
      health: { type: "tcp", interval: 5, timeout: 2, threshold: 3 },
      egress: true,
      requireLoopback: false,
      // Below the gateways' own, in ord and iad.
      serviceIp: "10.1.2.252",
    });
  });

  it("knows the service address of each app whatever the order of checks and creates", async () => {
    const west = {
      regions: ["iad"],
      before: [
        { name: "east", kind: "app", region: "ord" },
        { name: "laptop", kind: "peer" },
      ],
    };
    const planned = (await app.check(world.ctx, {}, news("west", west))).inputs;
    // Gateway and service of east, laptop's gateway, that of west.
    expect(planned).toMatchObject({ privateIp: "10.1.2.5", serviceIp: "10.1.2.250" });
    const east = (await app.check(world.ctx, {}, news("east", { region: "ord" }))).inputs;
    expect(east.serviceIp).toBe("10.1.2.253");
    const made = await app.create(world.ctx, planned);
    expect(made.outs).toMatchObject({ privateIp: "10.1.2.5", serviceIp: "10.1.2.250" });
    expect(made.outs).not.toHaveProperty("gateways");
    expect((await app.check(world.ctx, {}, news("east", { region: "ord" }))).inputs).toEqual(east);
    expect((await app.create(world.ctx, east)).outs.serviceIp).toBe("10.1.2.253");
  });

  it("leaves a service address open where there is no order, but for the one that the app has", async () => {
    const unordered = news("api", { unordered: true, ip: "10.1.2.9" });
    const first = (await app.check(world.ctx, {}, unordered)).inputs;
    expect([first.privateIp, first.serviceIp]).toEqual(["10.1.2.9", undefined]);
    const { outs } = await app.create(world.ctx, first);
    expect(outs.serviceIp).toBe("10.1.2.253");
    expect((await app.check(world.ctx, first, unordered)).inputs).toMatchObject({
      privateIp: "10.1.2.9",
      serviceIp: "10.1.2.253",
    });
  });

  it("keeps unknown values where they stand", async () => {
    const { inputs, failures } = await app.check(
      world.ctx,
      {},
      news("api", { env: { A: UNKNOWN, B: "b" }, port: UNKNOWN }),
    );
    expect(failures).toEqual([]);
    expect(inputs).toMatchObject({ env: { A: UNKNOWN, B: "b" }, port: UNKNOWN, privateIp: "10.1.2.3", url: UNKNOWN });
  });

  it("joins a network by its name, and leaves the address open while nobody knows that network", async () => {
    const byName = { network: "shop", networkId: undefined, space: undefined };
    expect((await app.check(world.ctx, {}, news("api", byName))).inputs.privateIp).toBe("10.1.2.3");
    const unknown = await app.check(world.ctx, {}, news("api", { ...byName, network: "later" }));
    expect(unknown.failures).toEqual([]);
    expect(unknown.inputs.privateIp).toBeUndefined();
    await expect(app.create(world.ctx, unknown.inputs)).rejects.toThrow(/no network "later"/);
  });
});

describe("life", () => {
  it("changes region, port, command and env in place, and keeps its address", async () => {
    const api = new Driven(world, app);
    await api.up(news("api", { region: "ord" }));
    const { id } = api;
    expect(await api.up(news("api", { region: "ord" }))).toBe("same");
    for (const change of [
      { region: "iad" },
      { region: "iad", port: 9000 },
      { region: "iad", command: ["./other"] },
      { region: "iad", env: { A: "1" } },
      { region: "iad", allow: ["web", { from: "*", ports: 8080 }] },
      { region: "iad", allow: [] },
      { region: "iad", egress: false },
      { region: "iad", requireLoopback: true },
      { region: "iad", triggers: [{ n: 1 }] },
    ]) {
      expect(await api.up(news("api", change))).toBe("update");
      expect(api).toMatchObject({ id, outs: { privateIp: "10.1.2.3", serviceIp: "10.1.2.253" } });
      expect(await api.up(news("api", change))).toBe("same");
    }
    expect(world.registry.member(id!).app).toMatchObject({ regions: ["iad"], triggers: ['{"n":1}'], cwd: world.dir });
    expect(await api.up(news("api2", {}))).toBe("replace");
  });

  it("passes on who may connect, and what it may reach", async () => {
    const api = new Driven(world, app);
    await api.up(news("api", { allow: ["web", { from: ["peer:a"], ports: [8080, "9000-9001"] }], egress: false }));
    expect(world.registry.member(api.id!).app).toMatchObject({
      allow: [
        { from: ["web"], protocol: "any", ports: [] },
        {
          from: ["peer:a"],
          protocol: "tcp",
          ports: [
            [8080, 8080],
            [9000, 9001],
          ],
        },
      ],
      egress: false,
      requireLoopback: false,
    });
  });

  it("comes back with its service address after its registry was lost", async () => {
    const other = new Driven(world, app);
    await other.up(news("other"));
    const api = new Driven(world, app);
    await api.up(news("api"));
    expect(api.outs.serviceIp).toBe("10.1.2.252");
    world.newRegistry();
    await net.up({ name: "shop", cidr: "10.1.2.0/24", ...hidden("Network", "shop") });
    expect(await api.up(news("api"))).toBe("update");
    expect(api.outs).toMatchObject({ privateIp: "10.1.2.4", serviceIp: "10.1.2.252" });
    expect(await other.up(news("other"))).toBe("update");
    expect(other.outs).toMatchObject({ privateIp: "10.1.2.3", serviceIp: "10.1.2.253" });
  });

  it("takes up what an older version did not have, once", async () => {
    const api = new Driven(world, app);
    await api.up(news("api"));
    for (const key of ["service", "serviceIp", "egress", "requireLoopback"])
      delete (api.outs as Record<string, unknown>)[key];
    expect(await api.up(news("api"))).toBe("update");
    expect(api.outs).toMatchObject({ serviceIp: "10.1.2.253", egress: true });
    expect(await api.up(news("api"))).toBe("same");
  });

  it("is an update when the code of its source changes, and is delivered once", async () => {
    const source = path.join(world.dir, "src");
    fs.mkdirSync(source);
    fs.writeFileSync(path.join(source, "server"), "one", { mode: 0o755 });
    const api = new Driven(world, app);
    await api.up(news("api", { source: "src" }));
    expect(api.outs.source).toBe("src");
    expect(world.registry.member(api.id!).app).toMatchObject({ cwd: ".", sourceHash: api.outs.sourceHash });
    expect([...world.sources]).toEqual([api.outs.sourceHash]);
    fs.utimesSync(path.join(source, "server"), 1, 1);
    expect(await api.up(news("api", { source: "src" }))).toBe("same");
    fs.writeFileSync(path.join(source, "server"), "two");
    expect(await api.up(news("api", { source: "src" }))).toBe("update");
    expect(world.sources.size).toBe(2);
  });

  it("is kept as half-made at its deadline, with what is missing, and repaired by the next up", async () => {
    world.readiness = () => ({ ready: false, missing: ["ord/0 is not healthy"], warnings: [] });
    const inputs = (await app.check(world.ctx, {}, news("api", { createTimeout: 30 }))).inputs;
    const failure = await app.create(world.ctx, inputs).then(
      () => undefined,
      (error) => error,
    );
    expect(failure).toBeInstanceOf(InitFailure);
    expect(failure.reasons).toEqual(["After 30 s still missing: ord/0 is not healthy"]);
    expect(failure.outs).toMatchObject({ name: "api", privateIp: "10.1.2.3", registryId: world.registry.id });
    world.readiness = () => ({ ready: true, missing: [], warnings: [] });
    const { outs } = await app.update(world.ctx, failure.id, failure.outs, inputs);
    expect(outs.privateIp).toBe("10.1.2.3");
    expect(world.registry.members()).toHaveLength(1);
  });

  it("tells whoever runs the program what the agent warns of", async () => {
    const warnings: string[] = [];
    world.readiness = () => ({ ready: true, missing: [], warnings: ["api (ord/0) listens on 0.0.0.0:8080"] });
    const ctx = { ...world.ctx, warn: (message: string) => void warnings.push(message) };
    const { inputs } = await app.check(ctx, {}, news("api"));
    await app.create(ctx, inputs);
    expect(warnings).toEqual(["api (ord/0) listens on 0.0.0.0:8080"]);
  });

  it("does not wait for a command that cannot run", async () => {
    world.readiness = () => ({ ready: false, missing: [], failed: "./server does not exist", warnings: [] });
    const start = world.time;
    const { inputs } = await app.check(world.ctx, {}, news("api"));
    await expect(app.create(world.ctx, inputs)).rejects.toMatchObject({ reasons: ["./server does not exist"] });
    expect(world.time - start).toBeLessThanOrEqual(10_000);
  });

  it("finishes its own half-made object, and refuses the name of another owner, naming it", async () => {
    const inputs = (await app.check(world.ctx, {}, news("api"))).inputs;
    const first = await app.create(world.ctx, inputs);
    const again = await app.create(world.ctx, inputs);
    expect(again.id).toBe(first.id);
    const { failures } = await app.check(world.ctx, {}, news("api", {}, "prod"));
    expect(failures).toEqual([{ property: "name", reason: expect.stringMatching(/acme\/shop\/dev/) }]);
  });

  it("is replaced when its network is, or when that is not known", async () => {
    const api = new Driven(world, app);
    await api.up(news("api"));
    const { inputs } = await app.check(
      world.ctx,
      api.inputs,
      news("api", { network: UNKNOWN, space: UNKNOWN, networkId: UNKNOWN }),
    );
    const diff = await app.diff(world.ctx, api.id!, api.outs, inputs);
    expect(diff).toEqual({ changes: true, replaces: ["network"], deleteBeforeReplace: true });
  });

  it("does not mind that the network's id is not known while the network itself is the same", async () => {
    const api = new Driven(world, app);
    await api.up(news("api"));
    const { inputs } = await app.check(world.ctx, api.inputs, news("api", { networkId: UNKNOWN }));
    expect((await app.diff(world.ctx, api.id!, api.outs, inputs)).changes).toBe(false);
  });

  it("is shown to other stacks with its outputs, and nothing that only its own stack may know", async () => {
    const api = new Driven(world, app);
    await api.up(news("api", { env: { PASSWORD: "open sesame" }, triggers: ["t"], cwd: "x", port: 9000 }));
    const got = await app.read(world.ctx, "shop/api", { __provider: "p" });
    const outputs = [
      ...["name", "network", "networkId", "regions", "instances", "port", "tags", "addresses", "privateIp"],
      ...["privateIps", "service", "serviceIp", "hostname", "url", "registryId"],
    ];
    expect(got!.id).toBe(api.id);
    expect(Object.keys(got!.props).sort()).toEqual(outputs.sort());
    expect(got!.props).toMatchObject({
      hostname: "api.internal",
      url: "http://api.internal:9000",
      privateIps: ["10.1.2.3"],
    });
    // A refresh brings the state of the first read, also one of an older release that had more.
    const again = await app.read(world.ctx, got!.id, { ...got!.props, env: { PASSWORD: "open sesame" } });
    expect(again).toEqual(got);
    expect(await api.refresh()).toBe("kept");
    expect(api.outs.env).toEqual({ PASSWORD: "open sesame" });
  });

  it("is made again, in place, when its registry lacks it, and is gone only when that registry deleted it", async () => {
    const api = new Driven(world, app);
    await api.up(news("api"));
    const { id } = api;
    world.registry.deleteMember(id!);
    expect(await api.refresh()).toBe("gone");
    expect(await api.up(news("api"))).toBe("update");
    expect(world.registry.member(id!).name).toBe("api");
    await api.destroy();
    await app.delete(world.ctx, id!, api.outs);
  });
});
