import { FakeNetwork } from "./testing/fake-network";

/** (c) 18: whole networks on bad wires: nothing forged, doubled or foreign ever comes out, and it heals. */
test.each(Array.from({ length: 6 }, (_, seed) => seed))("six devices, all with each other, seed %i", (seed) => {
  const net = new FakeNetwork(seed);
  const nodes = Array.from({ length: 6 }, (_, i) => net.node(`192.0.2.${i + 1}:${1000 + i}`));
  for (let i = 0; i < nodes.length; i++)
    for (let j = i + 1; j < nodes.length; j++) net.connect(nodes[i], `10.0.0.${i}/32`, nodes[j], `10.0.0.${j}/32`);
  const sentTo: Set<string>[] = nodes.map(() => new Set());
  let serial = 0;
  const talk = (count: number): number[] => {
    const targets: number[] = [];
    for (let n = 0; n < count; n++) {
      const from = Math.floor(net.random.number() * nodes.length);
      const to = (from + 1 + Math.floor(net.random.number() * (nodes.length - 1))) % nodes.length;
      const text = `${from}>${to}#${serial++}`;
      sentTo[to].add(text);
      expect(["sent", "staged"]).toContain(nodes[from].sendText(`10.0.0.${from}`, `10.0.0.${to}`, text));
      targets.push(to);
    }
    return targets;
  };

  Object.assign(net.wire, { delay: 5, spread: 80, loss: 0.3, duplicate: 0.2, truncate: 0.05, corrupt: 0.05 });
  for (let round = 0; round < 60; round++) {
    talk(10);
    net.run(2_500);
  }
  nodes.forEach((node, i) => {
    expect(new Set(node.texts).size).toBe(node.texts.length);
    for (const text of node.texts) expect(sentTo[i].has(text)).toBe(true);
    expect(node.texts.length).toBeGreaterThan(20);
  });

  Object.assign(net.wire, { loss: 0, duplicate: 0, truncate: 0, corrupt: 0 });
  talk(60); // touches sessions that may have been lost on one side only
  net.run(40_000);
  for (const node of nodes) node.received.length = 0;
  const targets = talk(200);
  net.run(10_000);
  expect(nodes.map((node) => node.texts.length)).toEqual(nodes.map((_, i) => targets.filter((t) => t === i).length));

  net.run(1_200_000);
  for (const node of nodes) expect(node.device.indices.size).toBe(0);
});
