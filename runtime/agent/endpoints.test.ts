import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Endpoints } from "./endpoints";

describe("where stock peers were last seen", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "endpoints-"));
  const file = path.join(dir, "endpoints.json");
  beforeEach(() => {
    jest.useFakeTimers();
    fs.rmSync(file, { force: true });
  });
  afterEach(() => jest.useRealTimers());
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));
  const stored = () => JSON.parse(fs.readFileSync(file, "utf8"));

  test("is there again after a restart, for the owner only", () => {
    const before = new Endpoints(file);
    expect(before.all).toEqual({});
    before.learn("net_1/host-ord/KEY=", "192.0.2.7:51820");
    before.flush();
    expect(new Endpoints(file).all).toEqual({ "net_1/host-ord/KEY=": "192.0.2.7:51820" });
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(dir)).toEqual(["endpoints.json"]);
  });

  test("many moves of a peer cost one write, and the same place none", () => {
    const endpoints = new Endpoints(file);
    for (let port = 1; port <= 100; port++) endpoints.learn("a", `192.0.2.7:${port}`);
    expect(jest.getTimerCount()).toBe(1);
    expect(fs.existsSync(file)).toBe(false);
    jest.runAllTimers();
    expect(stored()).toEqual({ a: "192.0.2.7:100" });
    endpoints.learn("a", "192.0.2.7:100");
    expect(jest.getTimerCount()).toBe(0);
  });

  test("peers that are gone are forgotten, also in the file", () => {
    const endpoints = new Endpoints(file);
    endpoints.learn("a", "192.0.2.7:1");
    endpoints.learn("b", "192.0.2.7:2");
    endpoints.flush();
    endpoints.retain(new Set(["a", "b"]));
    expect(jest.getTimerCount()).toBe(0);
    endpoints.retain(new Set(["b"]));
    jest.runAllTimers();
    expect(endpoints.all).toEqual({ b: "192.0.2.7:2" });
    expect(stored()).toEqual({ b: "192.0.2.7:2" });
  });

  test.each([
    ["is cut off", '{"a":"192.0', {}],
    ["is empty", "", {}],
    ["holds no object", "null", {}],
    ["has other values in it", '{"a":"192.0.2.7:1","b":7,"c":null}', { a: "192.0.2.7:1" }],
  ])("a file that %s costs nothing but what it held", (_what, text, left) => {
    fs.writeFileSync(file, text);
    const endpoints = new Endpoints(file);
    expect(endpoints.all).toEqual(left);
    endpoints.learn("d", "[2001:db8::1]:9");
    endpoints.flush();
    expect(stored()).toEqual({ ...left, d: "[2001:db8::1]:9" });
  });

  test("a folder that cannot be written stops nobody", () => {
    const endpoints = new Endpoints(path.join(dir, "missing", "endpoints.json"));
    endpoints.learn("a", "192.0.2.7:1");
    expect(() => endpoints.flush()).not.toThrow();
    expect(endpoints.all).toEqual({ a: "192.0.2.7:1" });
  });
});
