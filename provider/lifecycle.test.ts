/** What a program sees, on the embedded engine with Pulumi's own dynamic-provider process, against a real control. */
import { Machine, type Project } from "./testing/project";

const TUTORIAL = `
const laptop = new warren.Peer("laptop", { network: net });
const east = new warren.App("east", { network: net, region: "ord", command: ["./server"] });
const west = new warren.App("west", { network: net, region: "iad", command: ["./server"] });
exports.ips = [laptop, east, west].map((m) => m.privateIp);
exports.urls = east.url;
exports.config = laptop.config;
exports.id = laptop.id;
`;
const IPS = ["10.1.2.3", "10.1.2.4", "10.1.2.5"];

let machine: Machine;
let project: Project;
beforeEach(async () => {
  machine = new Machine();
  project = machine.project("shop");
});
afterEach(() => machine.close());

describe("the tutorial", () => {
  it("previews without a registry, comes up as previewed, is the same the second time, and leaves nothing", async () => {
    project.write(TUTORIAL);
    const preview = await project.run("preview");
    expect(preview.outputs.ips).toMatchObject({ value: IPS });
    expect(preview.outputs.urls).toMatchObject({ value: "http://east.internal:8080" });
    expect(preview.outputs.config).toMatchObject({ unknown: true });

    const { registry } = await machine.start();
    const up = await project.run("up");
    expect(up.counts).toMatchObject({ create: 5 });
    expect(up.outputs.ips).toMatchObject({ value: IPS });
    expect(up.outputs.config.secret).toBe(true);
    const text = String(up.outputs.config.value);
    expect(text).toContain("Address = 10.1.2.3/24");
    const { text: state } = project.state();
    const privateKey = /PrivateKey = (\S+)/.exec(text)![1];
    expect(state).not.toContain(privateKey);
    expect(state).toContain('exports.handler=()=>require(\\"pulumi-warren/provider/network\\")');
    expect(JSON.stringify(registry.members())).not.toContain(privateKey);

    const again = await project.run("up");
    expect(again.counts).toMatchObject({ create: 0, update: 0, replace: 0, delete: 0, same: 5 });
    await project.run("refresh");
    expect((await project.run("up")).counts).toMatchObject({ update: 0, same: 5 });

    await machine.loseRegistry();
    await project.run("refresh");
    const rebuilt = await project.run("up");
    expect(project.done()).toEqual(["update east", "update laptop", "update net", "update west"]);
    expect(rebuilt.outputs).toMatchObject({ ips: { value: IPS }, config: { value: text }, id: up.outputs.id });

    await project.run("destroy");
    expect(machine.control!.registry.networks()).toEqual([]);
    expect(machine.control!.registry.members()).toEqual([]);
  }, 120_000);
});

describe("changes", () => {
  it("happen in place where they can, and replace for another name", async () => {
    await machine.start();
    const body = (args: string) => `
const api = new warren.App("api", { network: net, command: ["./server"], ${args} });
exports.ip = api.privateIp;
exports.env = api.urn;`;
    await project.write(body(`region: "ord", env: { SECRET: pulumi.secret("hush-hush") }`)).run("up");
    expect(project.state().text).not.toContain("hush-hush");
    const id = machine.control!.registry.members()[0].id;
    const moved = await project.write(body(`region: "iad", port: 9000`)).run("up");
    expect(project.done()).toEqual(["update api"]);
    expect(moved.outputs.ip.value).toBe("10.1.2.3");
    expect(machine.control!.registry.members()[0]).toMatchObject({ id, app: { regions: ["iad"], port: 9000 } });
    await project.write(body(`region: "iad", name: "other"`)).run("up");
    const members = machine.control!.registry.members();
    expect(members.map((m) => m.name)).toEqual(["other"]);
    expect(members[0].id).not.toBe(id);
    await project.write(body(`name: "other"`), `new warren.Network("net", { cidr: "10.7.0.0/24" })`).run("up");
    expect(machine.control!.registry.members().map((m) => m.addresses[0].ipv4)).toEqual(["10.7.0.3"]);
    await project.run("destroy");
  }, 120_000);

  it("are refused in preview with property and reason, before anything is made", async () => {
    await machine.start();
    project.write(`new warren.App("api", { network: net, command: ["x"], env: { PORT: "1" } });`);
    await expect(project.run("preview")).rejects.toMatchObject({
      message: expect.stringMatching(/env\.PORT.*set "port"/s),
    });
    project.write(`
new warren.Peer("one", { network: net, name: "twin" });
new warren.Peer("two", { network: net, name: "twin" });`);
    await expect(project.run("preview")).rejects.toMatchObject({
      message: expect.stringMatching(/Another member.*"twin"/s),
    });
    project.write(`new warren.Host("h", { region: "ord" });`);
    await expect(project.run("preview")).rejects.toMatchObject({
      message: expect.stringMatching(/Host is not supported yet/),
    });
    expect(machine.control!.registry.networks()).toEqual([]);
  }, 120_000);

  it("leave what does not work yet in the state, and repair it", async () => {
    await machine.start();
    machine.readiness = (name) =>
      name === "api"
        ? { ready: false, missing: [], failed: "./server does not exist", warnings: [] }
        : { ready: true, missing: [], warnings: [] };
    project.write(`new warren.App("api", { network: net, command: ["./server"] });`);
    await expect(project.run("up")).rejects.toMatchObject({
      message: expect.stringContaining("./server does not exist"),
    });
    const failed = project.state().resources.find((r) => r.urn.endsWith("::api"))!;
    expect(failed.initErrors).toEqual(["./server does not exist"]);
    expect(failed.outputs).toMatchObject({ __provider: expect.stringContaining("pulumi-warren/provider/app") });
    machine.readiness = () => ({ ready: true, missing: [], warnings: [] });
    expect((await project.run("up")).counts).toMatchObject({ update: 1, create: 0 });
    await project.run("destroy");
  }, 120_000);
});

describe("members without an order", () => {
  it("have no address in preview when made inside apply, take none from the others, and keep theirs", async () => {
    await machine.start();
    project.write(`
pulumi.output("late").apply(async (name) => { await null; exports.late = new warren.Peer(name, { network: net }).privateIp; });
const first = new warren.Peer("first", { network: net });
const second = new warren.Peer("second", { network: net });
exports.ips = [first.privateIp, second.privateIp];
exports.pinned = pulumi.output("pin").apply((name) => new warren.Peer(name, { network: net, ip: "10.1.2.77" }).privateIp);`);
    const preview = await project.run("preview");
    expect(preview.outputs.ips.value).toEqual(["10.1.2.3", "10.1.2.4"]);
    expect(preview.outputs.pinned.value).toBe("10.1.2.77");
    await project.run("up");
    const ips = () => Object.fromEntries(machine.control!.registry.members().map((m) => [m.name, m.addresses[0].ipv4]));
    expect(ips()).toEqual({ first: "10.1.2.3", second: "10.1.2.4", late: "10.1.2.5", pin: "10.1.2.77" });
    expect((await project.run("up")).counts).toMatchObject({ update: 0, create: 0, same: 6 });
    await project.run("destroy");
  }, 120_000);
});

describe("two stacks", () => {
  it("share a network by its name; it is not taken down under the other, nor is a name taken twice", async () => {
    await machine.start();
    project.write(`new warren.App("clock", { network: net, command: ["x"] });`);
    await project.run("up");
    const other = machine.project("other");
    other.write(
      `
const reader = new warren.App("reader", { network: "net", command: ["x"] });
const clock = warren.App.get("clock", "net/clock");
exports.ip = reader.privateIp;
exports.clock = clock.privateIp;
exports.cidr = net.cidr;
exports.members = warren.getMembers({ network: "net" }).then((all) => all.map((m) => m.name));
exports.addresses = warren.resolve({ hostname: "clock.internal", network: "net" });`,
      `warren.Network.get("net", "net")`,
    );
    const preview = await other.run("preview");
    expect(preview.outputs).toMatchObject({
      ip: { value: "10.1.2.4" },
      clock: { value: "10.1.2.3" },
      cidr: { value: "10.1.2.0/24" },
      members: { value: ["clock"] },
      addresses: { value: ["10.1.2.3"] },
    });
    await other.run("up");
    await expect(project.run("destroy")).rejects.toMatchObject({
      message: expect.stringMatching(/reader.*other\/dev/s),
    });
    const third = machine.project("third");
    third.write(`new warren.App("reader", { network: "net", command: ["x"] });`, "undefined");
    await expect(third.run("preview")).rejects.toMatchObject({ message: expect.stringMatching(/reader.*other\/dev/s) });
    await other.run("destroy");
    expect(machine.control!.registry.members().map((m) => m.name)).not.toContain("reader");
    await project.run("destroy");
    expect(machine.control!.registry.networks()).toEqual([]);
  }, 120_000);
});
