/** What a program sees, on the embedded engine with Pulumi's own dynamic-provider process, against a real control. */
import { Machine, type Project } from "./project";

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
