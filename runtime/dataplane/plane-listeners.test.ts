import type { DnsQuery, OwnNames } from "./config";
import { PlaneListeners } from "./plane-listeners";

const query: DnsQuery = { gateway: "net/a", from: "10.0.0.3", message: Buffer.from("question") };

/** Names that know one question, and say when they are others. */
function ownNames() {
  const listeners = new Set<() => void>();
  const names: OwnNames & { generation: number } = {
    generation: 1,
    answer: ({ message }) =>
      Buffer.from(message).toString() === "question"
        ? { message: Buffer.from("own"), keep: { generation: names.generation } }
        : undefined,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const change = () => {
    names.generation++;
    for (const listener of listeners) listener();
  };
  return { names, change };
}

test("own names answer first, the handler what they do not know", async () => {
  const listeners = new PlaneListeners(() => undefined);
  expect(await listeners.answer(query)).toBeUndefined();
  listeners.onDns(async () => Buffer.from("handled"), ownNames().names);
  expect(await listeners.answer(query)).toEqual({ message: Buffer.from("own"), keep: { generation: 1 } });
  expect(await listeners.answer({ ...query, message: Buffer.from("else") })).toEqual({
    message: Buffer.from("handled"),
  });
  listeners.onDns(async () => undefined);
  expect(await listeners.answer(query)).toBeUndefined();
});

test("a handler that fails is silence, and said in the log", async () => {
  const said: string[] = [];
  const listeners = new PlaneListeners((message) => said.push(message));
  listeners.onDns(() => Promise.reject(new Error("no")));
  expect(await listeners.answer(query)).toBeUndefined();
  expect(said).toEqual(["A DNS question of 10.0.0.3 was not answered: no"]);
});

test("every thread hears of each generation, also one that starts later", () => {
  const listeners = new PlaneListeners(() => undefined);
  const early: number[] = [];
  const late: number[] = [];
  listeners.onGeneration((generation) => early.push(generation));
  const { names, change } = ownNames();
  listeners.onDns(async () => undefined, names);
  change();
  const stop = listeners.onGeneration((generation) => late.push(generation));
  change();
  stop();
  change();
  expect([early, late]).toEqual([
    [1, 2, 3, 4],
    [2, 3],
  ]);
});
