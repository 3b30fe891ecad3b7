import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import Sqlite from "libsql";
import { WarrenError } from "../../errors";
import { Registry } from "../registry";
import { Database } from "./database";
import { MIGRATIONS } from "./migrations";

let dir: string;
let file: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-database-"));
  file = path.join(dir, "registry.sqlite");
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

const owner = { organization: "", project: "p", stack: "s", urn: "u" };
const spec = { name: "net", cidr: "10.0.0.0/16", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {} };
const app = (name: string, instances: number) => ({
  owner,
  name,
  kind: "app" as const,
  addresses: [],
  app: {
    regions: ["ord"],
    instances,
    port: 1,
    command: ["x"],
    cwd: "/",
    env: {},
    triggers: [],
    health: { type: "none" as const, interval: 1, timeout: 1, threshold: 1 },
    restart: "always" as const,
    tags: {},
  },
});

test("a full disk undoes the whole change, and all goes on once there is space", () => {
  const registry = new Registry({ file, dir });
  registry.putNetwork("net", { owner, spec });
  const revision = registry.revision;
  const pages = Number(registry.db.get("PRAGMA page_count")!.page_count);
  registry.db.get(`PRAGMA max_page_count = ${pages + 2}`);
  expect(() => registry.putMember("net", "big", app("big", 3000))).toThrow(
    expect.objectContaining({ code: "WARREN_STORAGE", message: expect.stringContaining("disk is full") }),
  );
  expect(registry.members()).toEqual([]);
  expect(registry.hosts()).toEqual([]);
  expect(registry.db.get("SELECT count(*) AS n FROM leases")!.n).toBe(0);
  expect(registry.revision).toBe(revision);
  registry.db.get("PRAGMA max_page_count = 1000000");
  expect(registry.putMember("net", "big", app("big", 3000)).addresses).toHaveLength(3000);
  registry.close();
});

test("a damaged file says what to do", () => {
  const refused = expect.objectContaining({
    code: "WARREN_STORAGE",
    message: expect.stringContaining("move the file away"),
  });
  fs.writeFileSync(file, "no database at all ".repeat(1000));
  expect(() => new Database(file)).toThrow(refused);
  fs.rmSync(file);

  const registry = new Registry({ file, dir });
  registry.putNetwork("net", { owner, spec });
  registry.putMember("net", "big", app("big", 500));
  registry.close();
  const bytes = fs.readFileSync(file);
  bytes.fill(0x55, 4096 * 3, bytes.length - 4096);
  fs.writeFileSync(file, bytes);
  expect(() => new Registry({ file, dir })).toThrow(refused);
});

test("a newer schema is refused, an unwritable folder too", () => {
  const db = new Database(file);
  db.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
  db.close();
  expect(() => new Database(file)).toThrow(
    expect.objectContaining({
      code: "WARREN_VERSION",
      message: expect.stringContaining(`schema ${MIGRATIONS.length + 1}`),
    }),
  );
  expect(() => new Database(path.join(dir, "none", "registry.sqlite"))).toThrow(/no such file/i);
});

test("a registry of schema 1 is brought to the present one", () => {
  const old = new Sqlite(file);
  old.exec(fs.readFileSync(path.join(__dirname, "fixtures", "schema-1.sql"), "utf8"));
  old.close();
  const registry = new Registry({ file, dir });
  expect(registry.id).toBe("reg_0123456789abcdef");
  expect(registry.db.get("PRAGMA user_version")!.user_version).toBe(MIGRATIONS.length);
  expect(registry.network("net")).toMatchObject({ id: "net_1", gatewayIp: "10.1.2.1" });
  // Services and gateways have addresses from schema 2 on; members keep theirs.
  expect(registry.members()).toMatchObject([
    {
      id: "mem_1",
      addresses: [{ slot: "ord/0", ipv4: "10.1.2.3" }],
      service: { slot: "service", ipv4: "10.1.2.253" },
    },
  ]);
  expect(registry.snapshot().gateways).toEqual([
    { networkId: "net_1", region: "ord", address: { slot: "gateway:ord", ipv4: "10.1.2.254" } },
  ]);
  expect(registry.putMember("net", "next", app("next", 1))).toMatchObject({
    addresses: [{ slot: "ord/0", ipv4: "10.1.2.4" }],
    service: { ipv4: "10.1.2.252" },
  });
  registry.close();
});

test("a failing write leaves nothing, whatever it threw", () => {
  const db = new Database(file);
  expect(() =>
    db.write(() => {
      db.run("INSERT INTO meta (key, value) VALUES ('a', 'b')");
      throw new WarrenError("WARREN_INTERNAL", "half-way");
    }),
  ).toThrow("half-way");
  expect(db.get("SELECT * FROM meta WHERE key = 'a'")).toBeUndefined();
  db.close();
});

test("no two members can hold one address, even were the code above to try", () => {
  const registry = new Registry({ file, dir });
  const net = registry.putNetwork("net", { owner, spec });
  registry.putMember("net", "a", app("a", 1));
  const b = registry.putMember("net", "b", app("b", 1));
  expect(() => registry.db.run("INSERT INTO leases VALUES (?, '0a000003', 4, ?, 'ord/9')", net.id, b.id)).toThrow(
    /UNIQUE/,
  );
  registry.close();
});
