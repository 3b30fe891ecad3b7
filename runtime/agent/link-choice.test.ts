import type { SandboxState } from "../keeper/protocol";
import { LinkChoice, parseLinkSetting } from "./link-choice";
import { isPortFree, Plugs } from "./plugs";

const works = async () => {};
const lacks = async (): Promise<void> => {
  throw new Error("no /dev/net/tun");
};

function choiceOf(setting: string | undefined, check: () => Promise<void>, now = () => 0) {
  const told: string[] = [];
  return { told, choice: new LinkChoice(parseLinkSetting(setting), check, (reason) => told.push(reason), now) };
}

describe("WARREN_LINK", () => {
  test("names a link, for all or for regions", () => {
    expect(parseLinkSetting(undefined)).toEqual({ regions: new Map() });
    expect(parseLinkSetting("userspace")).toEqual({ all: "userspace", regions: new Map() });
    expect(parseLinkSetting("tun, ord=userspace")).toEqual({ all: "tun", regions: new Map([["ord", "userspace"]]) });
    for (const bad of ["kernel", "ord=", "=tun", "ord=kernel"])
      expect(() => parseLinkSetting(bad)).toThrow(`WARREN_LINK=${bad} is unknown`);
  });

  test("absent, the best that works is taken, and a lack is told once", async () => {
    expect(await choiceOf(undefined, works).choice.best()).toBe("tun");
    let now = 0;
    const { choice, told } = choiceOf(undefined, lacks, () => now);
    expect(await choice.best()).toBe("userspace");
    now = 70_000;
    expect(await choice.best()).toBe("userspace");
    expect(told).toEqual(["no /dev/net/tun"]);
    expect(choice.current).toEqual({ link: "userspace", reason: "no /dev/net/tun" });
  });

  test("a machine that is mended gives the next app a device", async () => {
    let check = lacks;
    let now = 0;
    const { choice } = choiceOf(
      undefined,
      () => check(),
      () => now,
    );
    expect(await choice.best()).toBe("userspace");
    check = works;
    expect(await choice.best()).toBe("userspace");
    now = 60_000;
    expect(await choice.best()).toBe("tun");
    expect(choice.current).toEqual({ link: "tun" });
  });

  test("forces one, and status says so", () => {
    expect(choiceOf("userspace", works).choice.current).toEqual({ link: "userspace", reason: "WARREN_LINK=userspace" });
    expect(choiceOf("tun", lacks).choice.current).toEqual({ link: "tun" });
  });
});

describe("plugs", () => {
  const apps = [
    { id: "a.0", region: "ord" },
    { id: "b.0", region: "iad" },
  ];
  const plugsOf = (setting: string | undefined, check = works, isFree = async () => true) =>
    new Plugs(choiceOf(setting, check).choice, isFree);
  const sandbox = (id: string, link: "tun" | "userspace", more = {}): SandboxState =>
    ({ spec: { id, ...more }, link, enter: [] }) as unknown as SandboxState;

  test("apps on the link userspace get two ports of their own and a password, the same at each decision", async () => {
    const plugs = plugsOf("userspace");
    const first = await plugs.decide(apps, new Map());
    expect(await plugs.decide(apps, new Map())).toEqual(first);
    const [a, b] = [first.get("a.0")!, first.get("b.0")!];
    if (a.link !== "userspace" || b.link !== "userspace") throw new Error("another link");
    const ports = [a.loopback.port, a.loopback.proxy, b.loopback.port, b.loopback.proxy];
    expect(new Set(ports).size).toBe(4);
    for (const port of ports) expect(port >= 10_000 && port < 20_000).toBe(true);
    expect(a.loopback.secret).not.toBe(b.loopback.secret);
    expect(a.loopback.secret).toMatch(/^[\w-]{24}$/);
  });

  test("a sandbox that is there keeps link and ports, with another daemon too, unless a person forces another link", async () => {
    const loopback = { port: 1, proxy: 2, secret: "s" };
    const present = new Map([
      ["a.0", sandbox("a.0", "userspace", { loopback })],
      ["b.0", sandbox("b.0", "tun")],
    ]);
    expect(await plugsOf(undefined, lacks).decide(apps, present)).toEqual(
      new Map([
        ["a.0", { link: "userspace", loopback }],
        ["b.0", { link: "tun" }],
      ]),
    );
    expect((await plugsOf("ord=tun").decide(apps, present)).get("a.0")).toEqual({ link: "tun" });
  });

  test("one whose device fails gets the link userspace, where nobody forces another", async () => {
    const plugs = plugsOf(undefined);
    expect((await plugs.decide(apps, new Map())).get("a.0")).toEqual({ link: "tun" });
    expect(plugs.failed("a.0", "ord", "no IPv6")).toBe(true);
    expect(plugs.failed("a.0", "ord", "no IPv6")).toBe(false);
    const decided = await plugs.decide(apps, new Map());
    expect([decided.get("a.0")?.link, decided.get("b.0")?.link]).toEqual(["userspace", "tun"]);
    expect(plugsOf("tun").failed("a.0", "ord", "no IPv6")).toBe(false);
  });

  test("ports that somebody else has are left to them; where none is free that is said", async () => {
    const plug = (await plugsOf("userspace").decide(apps, new Map())).get("a.0")!;
    const taken = plug.link === "userspace" ? plug.loopback.port : 0;
    const other = (
      await plugsOf("userspace", works, (async (port: number) => port !== taken) as never).decide(apps, new Map())
    ).get("a.0")!;
    expect(other.link === "userspace" && other.loopback.port).not.toBe(taken);
    await expect(plugsOf("userspace", works, async () => false).decide(apps, new Map())).rejects.toMatchObject({
      code: "WARREN_LINK_UNAVAILABLE",
    });
  });

  test("a port is free when nobody listens there, in TCP or UDP", async () => {
    const net = await import("node:net");
    const server = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as import("node:net").AddressInfo;
    expect(await isPortFree(port)).toBe(false);
    await new Promise((resolve) => server.close(resolve));
    expect(await isPortFree(port)).toBe(true);
  });
});
