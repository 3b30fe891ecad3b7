/** What a program's rules come to, said at its end: on the embedded engine, against a real control. */
import type { EngineEvent } from "../../engine";
import { Machine, type Project } from "./project";

let machine: Machine;
let project: Project;
beforeEach(async () => {
  machine = new Machine();
  project = machine.project("shop");
  await machine.start();
});
afterEach(() => machine.close());

const NET = (args: string) => `new warren.Network("net", { cidr: "10.1.2.0/24", ${args} })`;
const APPS = `
const east = new warren.App("api-service-east", { network: net, region: "ord", command: ["x"] });
const west = new warren.App("api-service-west", { network: net, region: "iad", command: ["x"] });
exports.services = [east.serviceIp, west.serviceIp];`;
const said = (events: readonly EngineEvent[]) =>
  events.flatMap((e) =>
    e.kind === "diagnostic" && e.severity !== "debug" ? [`${e.severity} ${e.message.trim()}`] : [],
  );

it("names who is meant after the network too, and refuses in preview who is not there at all", async () => {
  project.write(APPS, NET(`policy: [{ from: "api-service-east", to: "api-service-wets", ports: 8080 }]`));
  const typo =
    'policy[0].to: "api-service-wets" names nobody: network net has no member api-service-wets (is api-service-west meant?)';
  await expect(project.run("preview")).rejects.toMatchObject({ message: expect.stringContaining(typo) });
  expect(machine.control!.registry.isEmpty).toBe(true);

  project.write(APPS, NET(`policy: [{ from: "api-service-east", to: "api-service-west", ports: 8080 }]`));
  const preview = await project.run("preview");
  // The gateways' own addresses come first.
  expect(preview.outputs.services.value).toEqual(["10.1.2.253", "10.1.2.251"]);
  const up = await project.run("up");
  expect(up.outputs).toEqual(preview.outputs);
  expect(said(project.events)).toEqual([]);
  expect((await project.run("up")).counts).toMatchObject({ update: 0, create: 0 });
  await project.run("destroy");
}, 180_000);

it("says in preview and up what a change takes from whom, and changes in place", async () => {
  await project.write(APPS).run("up");
  project.write(
    `${APPS}\nnew warren.Peer("laptop", { network: net });`,
    NET(`domain: "example.com", policy: [{ from: "laptop", to: "api-service-west" }]`),
  );
  const lines = [
    expect.stringMatching(/^warning .*"example\.com" is not kept for private use/),
    "info api-service-east loses api-service-west:8080",
  ];
  await project.run("preview");
  expect(said(project.events)).toEqual(lines);
  await project.run("up");
  expect(said(project.events)).toEqual(lines);
  expect(project.done()).toContain("update net");
  expect(machine.control!.desired.current().networks[0].policy).toEqual([
    { from: ["laptop"], to: ["api-service-west"], protocol: "any", ports: [] },
  ]);
  await project.run("destroy");
}, 180_000);

it("judges the members that a second stack adds, by name and by Network.get, and says whom they take what from", async () => {
  await project.write(APPS, NET("")).run("up");
  const guests = machine.project("guests");
  const guest = (allow: string) => `new warren.App("guest", { network: net, command: ["x"], ${allow} });`;
  for (const net of [`"net"`, `warren.Network.get("theirs", "net")`]) {
    guests.write(guest(`allow: ["api-service-wets"]`), net);
    await expect(guests.run("preview")).rejects.toMatchObject({
      message: expect.stringContaining(
        'App guest of network net, allow[0].from: "api-service-wets" names nobody: network net has no member api-service-wets (is api-service-west meant?)',
      ),
    });
    await guests.write(guest(""), net).run("up");
    expect(said(guests.events)).toEqual([]);
    await guests.write(guest(`allow: ["api-service-west"]`), net).run("up");
    expect(said(guests.events)).toEqual(["info api-service-east loses guest:8080"]);
    await guests.run("destroy");
  }
  await project.run("destroy");
}, 180_000);
