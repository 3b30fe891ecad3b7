/** What a changed program does: on the embedded engine, against a real control. */
import { Machine, type Project } from "./project";

let machine: Machine;
let project: Project;
beforeEach(async () => {
  machine = new Machine();
  project = machine.project("shop");
});
afterEach(() => machine.close());

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
