import * as fc from "fast-check";
import { FrameReader, frame } from "./frames";

test("a datagram stands behind its length", () => {
  expect(frame(Buffer.from("abc"))).toEqual(Buffer.from([0, 3, 0x61, 0x62, 0x63]));
  expect(frame(Buffer.alloc(0))).toEqual(Buffer.from([0, 0]));
  expect(frame(Buffer.alloc(65_535)).subarray(0, 2)).toEqual(Buffer.from([255, 255]));
});

test("datagrams come out as they went in, whatever parts the connection makes of them", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 })),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (datagrams, steps) => {
        const bytes = Buffer.concat(datagrams.map(frame));
        const got: Buffer[] = [];
        const reader = new FrameReader((data) => got.push(Buffer.from(data)));
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const step = steps[i % steps.length]!;
          reader.push(bytes.subarray(at, at + step));
          at += step;
        }
        expect(got).toEqual(datagrams.map((data) => Buffer.from(data)));
      },
    ),
  );
});

test("half a datagram is none", () => {
  const got: Buffer[] = [];
  const reader = new FrameReader((data) => got.push(data));
  reader.push(Buffer.from([0, 3, 1]));
  reader.push(Buffer.from([2]));
  expect(got).toEqual([]);
  reader.push(Buffer.from([3, 0]));
  expect(got).toEqual([Buffer.from([1, 2, 3])]);
});
