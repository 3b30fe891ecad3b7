import { connected, Network, type Packet, pattern, sendAll, type Watcher } from "./testing/network";

function exchange(network: Network, up: number, down: number): { client: Watcher; server: Watcher } {
  const { client, server } = connected(network);
  sendAll(client, pattern(up));
  sendAll(server, pattern(down));
  network.runWhile(() => !(client.events.includes("closed") && server.events.includes("closed")), 600_000);
  expect(server.received.equals(pattern(up))).toBe(true);
  expect(client.received.equals(pattern(down))).toBe(true);
  expect(client.events).toEqual(expect.arrayContaining(["connected", "finished", "end", "closed"]));
  expect(client.error).toBeUndefined();
  expect(server.error).toBeUndefined();
  return { client, server };
}

test("both sides send a megabyte and close, over IPv4 and IPv6", () => {
  for (const family of [4, 6] as const) {
    const network = new Network({ family });
    exchange(network, 1_000_000, 1_000_000);
    expect(network.a.tcp.stats().connections).toBe(0);
    expect(network.b.tcp.stats().connections).toBe(0);
    expect(network.a.tcp.stats().retransmitted).toBe(0);
  }
});

test("super-segments arrive as they were sent", () => {
  const network = new Network({ whole: true });
  network.a.keep = true;
  exchange(network, 3_000_000, 0);
  const largest = Math.max(...network.a.sent.map((packet) => packet.bytes.length));
  expect(largest).toBeGreaterThan(60_000);
  for (const { bytes, segment } of network.a.sent) {
    expect(bytes.length).toBeLessThanOrEqual(65_495);
    if (segment > 0) expect(bytes.length).toBeGreaterThan(segment + 32);
  }
});

test("five percent loss both ways", () => {
  const network = new Network({ seed: "loss" });
  let n = 0;
  network.fate = () => ({ arrivals: ++n % 20 === 7 ? [] : [10] });
  exchange(network, 500_000, 500_000);
});

test("delay, reordering, duplicates and loss at random", () => {
  const network = new Network({ seed: "all" });
  let state = 12345;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 0x7fffffff;
  };
  network.fate = (_packet: Packet) => {
    if (random() < 0.03) return { arrivals: [] };
    if (random() < 0.03) return { arrivals: [5 + random() * 30, 5 + random() * 30] };
    return { arrivals: [5 + random() * 10] };
  };
  exchange(network, 300_000, 300_000);
});
