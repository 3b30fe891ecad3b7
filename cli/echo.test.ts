import { echo, summarize } from "./echo";

const LOST = new Error("no reply");
const isLoss = (error: unknown): error is Error => error === LOST;

/** Answers with these, one after the other. */
const asking = (outcomes: (number | Error)[]) => {
  let asked = 0;
  return {
    get asked() {
      return asked;
    },
    ask: async () => {
      const outcome = outcomes[asked++]!;
      if (typeof outcome === "number") return outcome;
      throw outcome;
    },
  };
};

test("each reply and each loss is told in its turn", async () => {
  const told: unknown[] = [];
  const { ask } = asking([1.5, LOST, 2.5]);
  const onOutcome = (request: number, outcome: number | Error) => told.push([request, outcome]);
  const times = await echo(ask, isLoss, { count: 3, interval: 0, signal: new AbortController().signal, onOutcome });
  expect(times).toEqual([1.5, undefined, 2.5]);
  expect(told).toEqual([
    [1, 1.5],
    [2, LOST],
    [3, 2.5],
  ]);
});

test("told to end in a pause, nothing more is sent; waiting for a reply, it is waited for no longer", async () => {
  const control = new AbortController();
  const paused = asking([1, 2]);
  const options = {
    count: 2,
    interval: 1e8,
    signal: control.signal,
    onOutcome: () => setImmediate(() => control.abort()),
  };
  expect(await echo(paused.ask, isLoss, options)).toEqual([1]);
  expect(paused.asked).toBe(1);

  const waiting = new AbortController();
  const never = () => {
    setImmediate(() => waiting.abort());
    return new Promise<number>(() => undefined);
  };
  expect(await echo(never, isLoss, { ...options, signal: waiting.signal })).toEqual([]);
});

test("what is no loss ends all", async () => {
  const { ask } = asking([new Error("no such network")]);
  const options = { count: 2, interval: 0, signal: new AbortController().signal, onOutcome: () => undefined };
  await expect(echo(ask, isLoss, options)).rejects.toThrow("no such network");
});

test("summaries", () => {
  expect(summarize([1, undefined, 3])).toEqual({ sent: 3, received: 2, milliseconds: { min: 1, mean: 2, max: 3 } });
  expect(summarize([undefined])).toEqual({ sent: 1, received: 0 });
  expect(summarize([])).toEqual({ sent: 0, received: 0 });
});
