/** Members without an order of construction, and of other stacks: on the embedded engine, against a real control. */
import { Machine, type Project } from "./project";

let machine: Machine;
let project: Project;
beforeEach(async () => {
  machine = new Machine();
  project = machine.project("shop");
});
afterEach(() => machine.close());

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
    project.write(
      `new warren.App("clock", { network: net, command: ["x"] }); new warren.Peer("laptop", { network: net, ip: "10.1.2.9" });`,
    );
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
exports.addresses = Promise.all(
  ["clock", "clock.internal", "local.clock.internal", "laptop._peer.internal"].map((hostname) => warren.resolve({ hostname, network: "net" })));
exports.missing = warren.resolve({ hostname: "fra.clock.internal", network: "net" }).catch((error) => error.message);`,
      `warren.Network.get("net", "net")`,
    );
    const preview = await other.run("preview");
    expect(preview.outputs).toMatchObject({
      ip: { value: "10.1.2.4" },
      clock: { value: "10.1.2.3" },
      cidr: { value: "10.1.2.0/24" },
      members: { value: ["clock", "laptop"] },
      addresses: { value: [["10.1.2.3"], ["10.1.2.3"], ["10.1.2.3"], ["10.1.2.9"]] },
      missing: { value: expect.stringContaining('no name "fra.clock.internal" in network "net"') },
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
