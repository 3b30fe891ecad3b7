import { PacketRing } from "./ring";
import { FROM_STACK_BYTES, TO_STACK_BYTES } from "./stack-link";
import { RingPipe } from "./stack-pipe";

test("who was refused hears of room also where others took what the engine had told of", () => {
  const rings = {
    link: "x",
    index: 0,
    toStack: PacketRing.create(TO_STACK_BYTES, false),
    fromStack: PacketRing.create(FROM_STACK_BYTES, false),
  };
  const pipe = new RingPipe(rings, () => undefined);
  let drained = 0;
  pipe.onDrain = () => drained++;
  const engine = new PacketRing(rings.fromStack);
  const [large, small] = [new Uint8Array(65_000), new Uint8Array(1400)];
  while (pipe.send(large, 0, large.length, 1360));
  while (!engine.roomy && engine.peek()) engine.release();
  expect(engine.satisfied()).toBe(true);
  // Before the stack's side has looked, datagrams take that room.
  for (let i = 0; i < 60; i++) expect(pipe.send(small, 0, small.length, 0)).toBe(true);
  expect(engine.roomy).toBe(false);
  pipe.drain();
  expect(drained).toBe(0);
  let told = 0;
  while (engine.peek()) {
    engine.release();
    if (engine.satisfied()) told++;
  }
  expect(told).toBe(1);
  pipe.drain();
  expect(drained).toBe(1);
});
