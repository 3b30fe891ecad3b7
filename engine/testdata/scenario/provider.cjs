/** A provider over a JSON file ($CLOUD/db.json): what it holds, and every call in order, are there for tests to see. */
const fs = require("node:fs");
const path = require("node:path");

const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const folder = process.env.CLOUD;
const file = path.join(folder, "db.json");

const load = () => (fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : { next: 1, things: {} });
const save = (db) => fs.writeFileSync(file, JSON.stringify(db));
const log = (hook, name, extra = {}) =>
  fs.appendFileSync(path.join(folder, "calls.jsonl"), `${JSON.stringify({ hook, name, ...extra })}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms ?? 0));
const fails = (hook, name) => fs.existsSync(path.join(folder, `fail-${hook}-${name}`));

/** Outputs: what was asked for, plus facts that only the "cloud" knows. */
const facts = (id, inputs) => ({ ...inputs, serial: `serial-${id}`, token: `token-of-${id}` });

module.exports = {
  async configure({ config }) {
    log("configure", config.get("region") ?? "");
  },
  async check(olds, news) {
    log("check", news.name, { olds: Object.keys(olds).length > 0 });
    if (news.size === "huge") return { inputs: news, failures: [{ property: "size", reason: "nothing is that big" }] };
    return { inputs: { ...news, address: news.address ?? `addr-${news.name}` } };
  },
  async diff(_id, olds, news) {
    if (news.structural) return {};
    const keys = Object.keys({ ...olds, ...news }).filter((key) => {
      if (["serial", "token", "__provider"].includes(key)) return false;
      return JSON.stringify(olds[key]) !== JSON.stringify(news[key]) || news[key] === UNKNOWN;
    });
    const replaces = keys.filter((key) => ["kind", "link", "region"].includes(key));
    return { changes: keys.length > 0, replaces, deleteBeforeReplace: news.dbr === true };
  },
  async create(inputs) {
    const db = load();
    const id = `id-${inputs.name}-${db.next++}`;
    save(db);
    log("create", inputs.name, { id, inputs });
    await sleep(inputs.delay);
    if (fails("create", inputs.name)) throw new Error(`cannot create ${inputs.name}`);
    if (fails("crash", inputs.name)) process.exit(7);
    const now = load();
    now.things[id] = inputs;
    save(now);
    log("created", inputs.name);
    if (fails("init", inputs.name)) {
      throw Object.assign(new Error("not healthy"), { id, properties: facts(id, inputs), reasons: ["it sulks"] });
    }
    return { id, outs: facts(id, inputs) };
  },
  async update(id, _olds, news) {
    log("update", news.name, { id });
    if (fails("update", news.name)) throw new Error(`cannot update ${news.name}`);
    const db = load();
    db.things[id] = news;
    save(db);
    return { outs: facts(id, news) };
  },
  async delete(id, props) {
    log("delete", props.name, { id });
    if (fails("delete", props.name)) throw new Error(`cannot delete ${props.name}`);
    await sleep(props.delay);
    const db = load();
    delete db.things[id];
    save(db);
    log("deleted", props.name);
  },
  async read(id, props) {
    log("read", props.name ?? "", { id });
    const inputs = load().things[id];
    if (inputs === undefined) return { id: "", props: {} };
    return { id, props: facts(id, inputs) };
  },
};
