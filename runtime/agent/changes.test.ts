import { Changes } from "./changes";

describe("waiting for a change", () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  test("what holds already is not waited for, and what may not be waited for is only asked", async () => {
    const changes = new Changes();
    expect(await changes.until(() => true, 60_000)).toBe(true);
    expect(await changes.until(() => false, 0)).toBe(false);
    expect(await changes.until(() => false, 60_000, AbortSignal.abort())).toBe(false);
    expect(jest.getTimerCount()).toBe(0);
  });

  test("each change asks again; the first that holds ends the wait and leaves no timer", async () => {
    const changes = new Changes();
    let value = 0;
    const waiting = changes.until(() => value >= 2, 60_000);
    for (const next of [1, 2, 3]) {
      value = next;
      changes.notify();
    }
    expect(await waiting).toBe(true);
    expect(jest.getTimerCount()).toBe(0);
  });

  test("the end of the wait asks once more: a change that nobody reported counts", async () => {
    const changes = new Changes();
    let holds = false;
    const [early, late] = [changes.until(() => holds, 1000), changes.until(() => holds, 2000)];
    jest.advanceTimersByTime(1000);
    expect(await early).toBe(false);
    holds = true;
    jest.advanceTimersByTime(1000);
    expect(await late).toBe(true);
  });

  test("the signal ends it at once", async () => {
    const changes = new Changes();
    const control = new AbortController();
    const waiting = changes.until(() => false, 60_000, control.signal);
    control.abort();
    expect(await waiting).toBe(false);
    expect(jest.getTimerCount()).toBe(0);
  });

  test("what can no longer be asked fails for whoever waits, and for nobody else", async () => {
    const changes = new Changes();
    let gone = false;
    const waiting = changes.until(() => {
      if (gone) throw new Error("No member");
      return false;
    }, 60_000);
    const other = changes.until(() => gone, 60_000);
    gone = true;
    changes.notify();
    await expect(waiting).rejects.toThrow("No member");
    expect(await other).toBe(true);
  });
});
