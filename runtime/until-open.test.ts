import { Duplex } from "node:stream";
import { untilOpen } from "./until-open";

class Socket extends Duplex {
  override _read(): void {}
  override _write(): void {}
}

const wait = (timeout = 1000) => ({
  timeout,
  late: () => new Error("late"),
  aborted: () => new Error("aborted"),
});
/** As an event of the system comes: outside of any promise. */
const inTurn = (work: () => void) => setImmediate(work);

test("a socket that opens is the caller's, with its errors from then on", async () => {
  const socket = new Socket();
  inTurn(() => socket.emit("connect"));
  expect(await untilOpen(socket, wait())).toBe(socket);
  await new Promise(setImmediate);
  expect(socket.listenerCount("error")).toBe(0);
});

test("one that breaks in the turn in which it opened fails, and its error ends nobody's process", async () => {
  const socket = new Socket();
  inTurn(() => {
    socket.emit("connect");
    socket.destroy(new Error("reset at once"));
  });
  await expect(untilOpen(socket, wait())).rejects.toThrow("reset at once");
});

test("one that does not open fails and is destroyed: by its error, the time, or whoever asked", async () => {
  const [broken, slow, unwanted] = [new Socket(), new Socket(), new Socket()];
  const asked = new AbortController();
  inTurn(() => broken.destroy(new Error("refused")));
  inTurn(() => asked.abort());
  const results = await Promise.allSettled([
    untilOpen(broken, wait()),
    untilOpen(slow, wait(1)),
    untilOpen(unwanted, { ...wait(), signal: asked.signal }),
  ]);
  expect(results.map((result) => (result as PromiseRejectedResult).reason.message)).toEqual([
    "refused",
    "late",
    "aborted",
  ]);
  expect([broken, slow, unwanted].every(({ destroyed }) => destroyed)).toBe(true);
});
