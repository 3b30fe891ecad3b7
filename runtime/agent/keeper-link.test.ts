import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { home } from "../home";
import { lineReader } from "../keeper/lines";
import { KeeperLink } from "./keeper-link";
import { running } from "./testing/values";

/** A keeper's socket that answers everything and notes what it was asked. */
class FakeKeeper {
  readonly asked: string[] = [];
  readonly sockets = new Set<net.Socket>();
  connections = 0;
  /** Method that is answered with an error. */
  refuses = "";
  private readonly server = net.createServer((socket) => {
    this.connections++;
    this.sockets.add(socket);
    const read = lineReader((line) => {
      const { id, method, params } = JSON.parse(line);
      this.asked.push(method === "goodbye" ? `goodbye ${params.apps}` : method);
      const error = { code: "WARREN_LINK_UNAVAILABLE", message: "No TUN." };
      const result = method === "hello" ? { version: "0.0.0", protocol: 1, pid: 7, uid: 0 } : { sandboxes: [] };
      socket.write(`${JSON.stringify(method === this.refuses ? { id, error } : { id, result })}\n`);
    });
    socket.on("data", read).on("error", () => undefined);
    socket.on("close", () => this.sockets.delete(socket));
  });

  listen(file: string): Promise<void> {
    return new Promise((resolve) => this.server.listen(file, resolve));
  }

  dropAll(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  say(event: object): void {
    for (const socket of this.sockets) socket.write(`${JSON.stringify(event)}\n`);
  }

  close(): Promise<void> {
    this.dropAll();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }
}

describe("the line to the keeper", () => {
  const dirs: string[] = [];
  let keeper: FakeKeeper;
  let link: KeeperLink;
  let told: string[];
  let lost: Promise<void>;

  beforeEach(async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "link-"));
    dirs.push(dir);
    keeper = new FakeKeeper();
    await keeper.listen(home(dir).keeperSocket);
    told = [];
    lost = new Promise((resolve) => {
      link = new KeeperLink({
        home: home(dir),
        supervise: { command: ["warren", "serve"], env: {}, log: "/dev/null" },
        log: () => undefined,
        onProcess: (sandbox, { pid }) => void told.push(`${sandbox} ${pid}`),
        onLost: () => {
          told.push("lost");
          resolve();
        },
      });
    });
  });
  afterEach(async () => {
    await link.goodbye("keep").catch(() => undefined);
    await keeper.close();
    for (const dir of dirs.splice(0)) fs.rmSync(dir, { recursive: true, force: true });
  });

  test("is made by the first call, once for calls at the same time, and asks to be supervised before all else", async () => {
    expect(keeper.connections).toBe(0);
    await Promise.all([link.call("list", {}), link.call("list", {}), link.call("list", {})]);
    expect(keeper.connections).toBe(1);
    expect(keeper.asked).toEqual(["hello", "supervise", "list", "list", "list"]);
  });

  test("carries the keeper's word on processes", async () => {
    await link.call("list", {});
    keeper.say({ event: "process", sandbox: "mem_1.0", state: running(42) });
    await link.call("list", {});
    expect(told).toEqual(["mem_1.0 42"]);
  });

  test("is told as lost, once, and made again by the next call", async () => {
    await link.call("list", {});
    keeper.dropAll();
    await lost;
    await Promise.all([link.call("list", {}), link.call("list", {})]);
    expect(told).toEqual(["lost"]);
    expect(keeper.connections).toBe(2);
    expect(keeper.asked.slice(-4)).toEqual(["hello", "supervise", "list", "list"]);
  });

  test("gives the keeper's own error, and stays", async () => {
    await link.call("list", {});
    keeper.refuses = "stop";
    const refused = link.call("stop", { sandbox: "mem_1.0" });
    await expect(refused).rejects.toMatchObject({ code: "WARREN_LINK_UNAVAILABLE", message: "No TUN." });
    await link.call("list", {});
    expect(keeper.connections).toBe(1);
  });

  test("that could not be made fails whoever asked, and is tried anew by the next", async () => {
    keeper.refuses = "supervise";
    await expect(link.call("list", {})).rejects.toMatchObject({ code: "WARREN_LINK_UNAVAILABLE" });
    keeper.refuses = "";
    expect(await link.call("list", {})).toEqual({ sandboxes: [] });
  });

  test("leaves none behind that nobody uses: a connection whose greeting failed is closed", async () => {
    keeper.refuses = "supervise";
    await expect(link.call("list", {})).rejects.toThrow();
    keeper.refuses = "";
    await link.call("list", {});
    keeper.say({ event: "process", sandbox: "mem_1.0", state: running(42) });
    await link.call("list", {});
    expect(told).toEqual(["mem_1.0 42"]);
  });

  test.each(["keep", "stop"] as const)("goodbye (%s) is said on the line, and its end is no loss", async (apps) => {
    await link.call("list", {});
    await link.goodbye(apps);
    expect(keeper.asked.at(-1)).toBe(`goodbye ${apps}`);
    await keeper.close();
    expect(told).toEqual([]);
  });

  test("nobody is greeted for a goodbye alone", async () => {
    await link.goodbye("stop");
    expect(keeper.connections).toBe(0);
  });
});
