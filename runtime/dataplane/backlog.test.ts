import { randomBytes, randomInt } from "node:crypto";
import { encodeSockaddr } from "../native/packet-io";
import { Backlog, MAX_BACKLOG, MAX_WAITING_CALLS, type SendCounts } from "./backlog";
import { SocketEndpoint } from "./endpoint-table";

const address = Uint8Array.from([127, 0, 0, 1]);
const endpointAt = (port: number) => new SocketEndpoint(address, port, encodeSockaddr(address, port));
const newCounts = (): SendCounts => ({ queue: 0, error: 0, refused: 0 });

test("what comes out is what went in, the oldest first, whatever is let go and shortened in between", () => {
  const memory = Uint8Array.from(randomBytes(200_000));
  const out = new Uint8Array(70_000);
  const backlog = new Backlog();
  const counts = newCounts();
  let oracle: { bytes: Uint8Array; segment: number; endpoint: SocketEndpoint }[] = [];
  let lost = 0;
  for (let i = 0; i < 4_000; i++) {
    const turn = randomInt(10);
    if (turn < 6) {
      const length = randomInt(8) === 0 ? 1 + randomInt(65507) : 1 + randomInt(1500);
      const at = randomInt(memory.length - length);
      const segment = 1 + randomInt(length);
      const endpoint = endpointAt(i & 0xffff);
      const size = () => oracle.reduce((sum, { bytes }) => sum + bytes.length, length);
      while (size() > MAX_BACKLOG) {
        const old = oracle.shift()!;
        lost += Math.ceil(old.bytes.length / old.segment);
      }
      oracle.push({ bytes: memory.slice(at, at + length), segment, endpoint });
      backlog.add(memory, at, length, segment, endpoint, counts);
    } else if (oracle.length > 0 && turn < 8) {
      oracle.shift();
      backlog.take(backlog.length);
    } else if (oracle.length > 0 && oracle[0].bytes.length > 1) {
      const cut = 1 + randomInt(oracle[0].bytes.length - 1);
      oracle = [{ ...oracle[0], bytes: oracle[0].bytes.subarray(cut) }, ...oracle.slice(1)];
      backlog.take(cut);
    }
    expect([backlog.empty, counts.queue]).toEqual([oracle.length === 0, lost]);
    if (oracle.length === 0) continue;
    const { bytes, segment, endpoint } = oracle[0];
    expect([backlog.length, backlog.segment]).toEqual([bytes.length, segment]);
    expect(backlog.endpoint).toBe(endpoint);
    backlog.copyTo(out, 0, bytes.length);
    expect(Buffer.compare(out.subarray(0, bytes.length), bytes)).toBe(0);
  }
  expect(lost).toBeGreaterThan(0);
});

test("so many calls wait; of more the oldest are counted at whoever sent them, and so are all in the end", () => {
  const backlog = new Backlog();
  const [a, b] = [newCounts(), newCounts()];
  const to = endpointAt(1);
  for (let i = 0; i < 100; i++) backlog.add(Buffer.alloc(9), 0, 9, 3, to, a);
  for (let i = 0; i < MAX_WAITING_CALLS - 60; i++) backlog.add(Buffer.alloc(9), 0, 9, 9, to, b);
  expect([a.queue, b.queue]).toEqual([40 * 3, 0]);
  backlog.clear();
  expect([a.queue, b.queue, backlog.empty]).toEqual([100 * 3, MAX_WAITING_CALLS - 60, true]);
});
