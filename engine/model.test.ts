import { parseDuration } from "./goal";
import { dependents, removeInOrder } from "./graph";
import { ignoreChanges, parsePath, pathContains } from "./path";
import type { ResourceState } from "./state";
import { buildUrn, expandAliases, parseUrn } from "./urn";
import { annotateSecrets, changedKeys, isSecret, makeSecret, toProvider, UNKNOWN } from "./values";

const STACK = "urn:pulumi:dev::p::pulumi:pulumi:Stack::p-dev";

test("URNs: a parent's type is part of its children's, the stack's is not", () => {
  const group = buildUrn("dev", "p", STACK, "a:b:Group", "g");
  expect(group).toBe("urn:pulumi:dev::p::a:b:Group::g");
  expect(buildUrn("dev", "p", group, "a:b:Thing", "x")).toBe("urn:pulumi:dev::p::a:b:Group$a:b:Thing::x");
  expect(parseUrn("urn:pulumi:dev::p::a:b:Group$a:b:Thing::odd::name")).toMatchObject({
    type: "a:b:Thing",
    qualifiedType: "a:b:Group$a:b:Thing",
    name: "odd::name",
  });
  expect(() => parseUrn("urn:other")).toThrow(expect.objectContaining({ code: "ENGINE_STATE" }));
});

test("aliases: by URN, name, type, parent, and through a renamed parent", () => {
  const context = {
    stack: "dev",
    project: "p",
    name: "new-child",
    type: "t:i:T",
    parent: "urn:pulumi:dev::p::g:i:G::new",
  };
  const formerUrn = (urn: string) => (urn === context.parent ? "urn:pulumi:dev::p::g:i:G::old" : undefined);
  expect(
    expandAliases([{ urn: "urn:pulumi:x::y::t::z" }, { name: "n", noParent: true }], { ...context, formerUrn }),
  ).toEqual([
    "urn:pulumi:x::y::t::z",
    "urn:pulumi:dev::p::t:i:T::n",
    "urn:pulumi:dev::p::g:i:G$t:i:T::old-child",
    "urn:pulumi:dev::p::g:i:G$t::z",
    "urn:pulumi:dev::p::g:i:G$t:i:T::n",
  ]);
});

test("paths: ignored changes keep the old value, also inside of lists and secrets", () => {
  expect(parsePath('a.b[0]["c.d"].*')).toEqual(["a", "b", 0, "c.d", "*"]);
  expect(parsePath("a[")).toBeUndefined();
  expect(pathContains(["a", "*"], ["a", "b", 0])).toBe(true);
  expect(pathContains(["a", "b"], ["a"])).toBe(false);
  const olds = { a: 1, list: [{ x: 1 }, { x: 2 }], gone: 1, secret: makeSecret({ k: 1 }) };
  const news = { a: 2, list: [{ x: 8 }, { x: 9 }], fresh: 1, secret: makeSecret({ k: 2 }) };
  expect(ignoreChanges(news, olds, ["a", "list[*].x", "gone", "fresh", "secret.k"])).toEqual({
    a: 1,
    list: [{ x: 1 }, { x: 2 }],
    gone: 1,
    secret: makeSecret({ k: 1 }),
  });
});

test("values: differences, secrets of namesakes, what a provider gets", () => {
  expect(changedKeys({ a: makeSecret(1), b: [1], c: 1 }, { a: 1, b: [2], d: 1 })).toEqual(["b", "c", "d"]);
  expect(changedKeys({ a: 1 }, { a: UNKNOWN })).toEqual(["a"]);
  const marked = annotateSecrets(
    { a: 1, o: { x: 1, y: 2 }, l: [1] },
    { a: makeSecret(1), o: { x: makeSecret(1) }, l: [makeSecret(1)] },
  );
  expect(marked).toEqual({ a: makeSecret(1), o: { x: makeSecret(1), y: 2 }, l: makeSecret([1]) });
  expect(isSecret(marked.l)).toBe(true);
  const reference = { "4dabf18193072939515e22adb298388d": "5cf8f73096256a8f31e491e813e4eb8e", urn: "urn:x" };
  expect(
    toProvider([makeSecret({ s: makeSecret(1) }), { ...reference, id: "i" }, { ...reference, id: "" }, reference]),
  ).toEqual([{ s: 1 }, "i", UNKNOWN, "urn:x"]);
});

test("durations as Go writes them, in seconds", () => {
  expect([parseDuration("5m"), parseDuration("1h30m"), parseDuration("1.5s"), parseDuration("250ms")]).toEqual([
    300, 5400, 1.5, 0.25,
  ]);
  expect(parseDuration("soon")).toBeUndefined();
});

function state(name: string, needs: string[] = [], extra: Partial<ResourceState> = {}): ResourceState {
  return {
    urn: `urn:pulumi:dev::p::t::${name}`,
    type: "t",
    custom: true,
    inputs: {},
    outputs: {},
    dependencies: needs.map((need) => `urn:pulumi:dev::p::t::${need}`),
    initErrors: [],
    propertyDependencies: {},
    additionalSecretOutputs: [],
    ignoreChanges: [],
    replaceOnChanges: [],
    ...extra,
  };
}

test("dependents, direct or not, in order", () => {
  const states = [state("x"), state("a"), state("b", ["a"]), state("c", ["x"]), state("d", ["b", "c"])];
  expect(dependents(states, states[1], new Set()).map(({ urn }) => urn.slice(-1))).toEqual(["b", "d"]);
  expect(dependents(states, states[1], new Set([states[2].urn])).map(({ urn }) => urn.slice(-1))).toEqual([]);
});

test("removal: dependents first, nothing new after a failure, circles of old generations do not block", async () => {
  const removed: string[] = [];
  const never = new Promise(() => {});
  const remove = async ({ urn }: ResourceState) => {
    if (urn.endsWith("bad")) throw new Error("no");
    removed.push(urn.slice(-1));
  };
  const states = [state("a"), state("b", ["a"]), state("c", ["b"], { parent: "urn:pulumi:dev::p::t::a" })];
  await removeInOrder(states, remove, () => false, never);
  expect(removed.splice(0)).toEqual(["c", "b", "a"]);
  const failing = removeInOrder([state("a"), state("bad", ["a"]), state("z")], remove, () => false, never);
  await expect(failing).rejects.toThrow("no");
  expect(removed.splice(0)).toEqual(["z"]);
  await removeInOrder([state("a", ["b"]), state("b", ["a"])], remove, () => false, never);
  expect(removed.sort()).toEqual(["a", "b"]);
});
