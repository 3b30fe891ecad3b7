/** schema.json, the SDK's types, and what the hooks take and give must say the same. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as ts from "typescript";
import { APP_INPUTS, app } from "../provider/core/app";
import { HOST_INPUTS } from "../provider/core/host";
import { HIDDEN_MEMBER } from "../provider/core/member";
import { NETWORK_INPUTS, network } from "../provider/core/network";
import { PEER_INPUTS, peer } from "../provider/core/peer";
import { HIDDEN_COMMON } from "../provider/core/shared";
import { Driven, hidden, World } from "../provider/testing/context";
import { APP_OUTPUTS } from "./app";
import { HOST_OUTPUTS } from "./host";
import { NETWORK_OUTPUTS } from "./network";
import { PEER_OUTPUTS } from "./peer";

interface ResourceSchema {
  inputProperties: Record<string, { description: string }>;
  requiredInputs: string[];
  properties: Record<string, { description: string; secret?: boolean }>;
  required: string[];
}
const root = path.join(__dirname, "..");
const schema = JSON.parse(fs.readFileSync(path.join(root, "schema.json"), "utf8"));
const resource = (kind: string): ResourceSchema => schema.resources[`warren:index:${kind}`];
const sorted = (names: Iterable<string>) => [...names].sort();

const KINDS = {
  Network: { inputs: NETWORK_INPUTS, outputs: NETWORK_OUTPUTS },
  Peer: { inputs: PEER_INPUTS, outputs: PEER_OUTPUTS },
  App: { inputs: APP_INPUTS, outputs: APP_OUTPUTS },
  Host: { inputs: HOST_INPUTS, outputs: HOST_OUTPUTS },
};

/** The members of the SDK's types, by parsing alone: `name?` as optional, with their documentation. */
function declared(file: string): Map<string, { name: string; optional: boolean; doc: string }[]> {
  const source = ts.createSourceFile(
    file,
    fs.readFileSync(path.join(root, file), "utf8"),
    ts.ScriptTarget.ES2022,
    true,
  );
  const out = new Map<string, { name: string; optional: boolean; doc: string }[]>();
  source.forEachChild((node) => {
    if (!ts.isInterfaceDeclaration(node) && !ts.isClassDeclaration(node)) return;
    const members = [...(node.members as ts.NodeArray<ts.Node>)].flatMap((member) => {
      if (!ts.isPropertySignature(member) && !ts.isPropertyDeclaration(member)) return [];
      const doc = ts
        .getJSDocCommentsAndTags(member)
        .map((d) => d.getText())
        .join(" ");
      const optional = member.questionToken !== undefined || /\| undefined>;?$/.test(member.getText());
      return [{ name: member.name.getText(), optional, doc }];
    });
    out.set(node.name!.text, members);
  });
  return out;
}

describe.each(Object.entries(KINDS))("%s", (kind, { inputs, outputs }) => {
  const types = declared(`sdk/${kind.toLowerCase()}.ts`);
  const args = types.get(`${kind}Args`)!;
  const fields = types.get(kind)!;

  it("takes the same inputs in schema, SDK and check", () => {
    expect(sorted(args.map((a) => a.name))).toEqual(sorted(Object.keys(resource(kind).inputProperties)));
    expect(sorted(inputs)).toEqual(sorted(Object.keys(resource(kind).inputProperties)));
    const required = args.filter((a) => !a.optional).map((a) => a.name);
    expect(sorted(required)).toEqual(sorted(resource(kind).requiredInputs));
  });

  it("gives the same outputs in schema and SDK", () => {
    expect(sorted(fields.map((f) => f.name))).toEqual(sorted(Object.keys(resource(kind).properties)));
    expect(sorted(outputs)).toEqual(sorted(Object.keys(resource(kind).properties)));
    const present = fields.filter((f) => !f.optional).map((f) => f.name);
    expect(sorted(present)).toEqual(sorted(resource(kind).required));
  });

  it("marks secret outputs in the SDK too", () => {
    const secret = Object.entries(resource(kind).properties).filter(([, p]) => p.secret);
    const code = fs.readFileSync(path.join(root, `sdk/${kind.toLowerCase()}.ts`), "utf8");
    for (const [name] of secret) expect(code).toMatch(new RegExp(`withSecrets\\(opts, \\[[^\\]]*"${name}"`));
  });

  it("describes every property, and says of what is refused that it is", () => {
    const all = { ...resource(kind).inputProperties, ...resource(kind).properties };
    for (const [name, property] of Object.entries(all))
      expect([name, property.description]).toEqual([name, expect.stringMatching(/\S/)]);
    for (const arg of args)
      if (/Not supported yet/.test(arg.doc))
        expect(resource(kind).inputProperties[arg.name].description).toMatch(/^Not supported yet/);
  });
});

describe("hooks", () => {
  const HIDDEN: readonly string[] = [...HIDDEN_COMMON, ...HIDDEN_MEMBER, "presharedKeyGenerated"];
  let world: World;
  const made: Record<string, Driven> = {};
  beforeAll(async () => {
    world = new World();
    made.Network = new Driven(world, network);
    await made.Network.up({
      name: "n",
      ipv6Cidr: "fd00:1::/64",
      policy: [{ from: "p", to: "a", ports: 8080 }],
      keepers: { a: "1" },
      ...hidden("Network", "n"),
    });
    const member = { network: "n", networkId: made.Network.id, space: made.Network.outs.space };
    made.Peer = new Driven(world, peer);
    await made.Peer.up({
      ...member,
      name: "p",
      region: "ord",
      endpoint: "h:1",
      presharedKey: true,
      expiresAt: "2030-01-01T00:00:00Z",
      keepers: { a: "1" },
      ...hidden("Peer", "p"),
    });
    made.App = new Driven(world, app);
    await made.App.up({ ...member, name: "a", region: "ord", command: ["x"], ...hidden("App", "a") });
  });
  afterAll(() => world.close());

  it.each(["Network", "Peer", "App"])("of %s return what the schema lists, and nothing else", (kind) => {
    const { outs } = made[kind];
    const known = new Set([
      ...Object.keys(resource(kind).properties),
      ...Object.keys(resource(kind).inputProperties),
      ...HIDDEN,
    ]);
    expect(Object.keys(outs).filter((key) => !known.has(key))).toEqual([]);
    const always = resource(kind).required;
    expect(always.filter((key) => outs[key] === undefined)).toEqual([]);
  });

  it("leave no optional output out that this example asks for", () => {
    for (const kind of ["Network", "Peer"])
      expect(Object.keys(resource(kind).properties).filter((key) => made[kind].outs[key] === undefined)).toEqual([]);
  });
});

it("has the version of the package, and functions that the SDK exports", () => {
  const json = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
  expect(schema.version).toBe(json.version);
  const lookup = fs.readFileSync(path.join(root, "sdk/lookup.ts"), "utf8");
  for (const token of Object.keys(schema.functions)) {
    const name = token.split(":")[2];
    expect(lookup).toMatch(new RegExp(`export function ${name}\\(`));
    const args = declared("sdk/lookup.ts").get(`${name[0].toUpperCase()}${name.slice(1)}Args`)!;
    expect(sorted(args.map((a) => a.name))).toEqual(sorted(Object.keys(schema.functions[token].inputs.properties)));
  }
});

it("has the configuration that the provider reads", () => {
  const code = fs.readFileSync(path.join(root, "provider/dynamic.ts"), "utf8");
  const read = [...code.matchAll(/get\("(\w+)"\)/g)].map((m) => m[1]);
  expect(sorted(read)).toEqual(sorted(Object.keys(schema.config.variables)));
});

test("docs/reference.md is what schema.json says", () => {
  const check = spawnSync(process.execPath, [path.join(root, "tools", "reference.mjs"), "--check"], {
    encoding: "utf8",
  });
  expect(check.stderr).toBe("");
  expect(check.status).toBe(0);
});
