import { nextProbe, observe, UNKNOWN } from "./health";

const health = { type: "tcp" as const, interval: 5, timeout: 2, threshold: 3 };

test("one success makes an instance healthy", () => {
  expect(observe(UNKNOWN, true, "connected", health)).toEqual({ state: "healthy", failures: 0, detail: "connected" });
});

test("only `threshold` failures in a row make a healthy instance unhealthy, and one success mends it", () => {
  let record = observe(UNKNOWN, true, "connected", health);
  record = observe(record, false, "refused", health);
  record = observe(record, false, "refused", health);
  expect(record.state).toBe("healthy");
  record = observe(record, true, "connected", health);
  for (let i = 0; i < 3; i++) record = observe(record, false, "refused", health);
  expect(record).toEqual({ state: "unhealthy", failures: 3, detail: "refused" });
  expect(observe(record, true, "connected", health).state).toBe("healthy");
});

test("an instance that was never healthy stays unknown however often it fails, and is probed at most every second", () => {
  let record = UNKNOWN;
  for (let i = 0; i < 20; i++) record = observe(record, false, "refused", health);
  expect(record.state).toBe("unknown");
  expect(nextProbe(record, health)).toBe(1000);
  expect(nextProbe(UNKNOWN, health)).toBe(50);
  expect(nextProbe(observe(record, true, "connected", health), health)).toBe(5000);
});
