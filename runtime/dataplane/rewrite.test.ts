/** Addresses rewritten in random packets: every checksum stays what it was, right or wrong. */
import fc from "fast-check";
import { Headers } from "./headers";
import { addSum, pseudoSum, putU16, u16 } from "./inet";
import { completeChecksum, rewriteAddress, rewriteQuoted } from "./rewrite";
import { ACK, complete, datagram, echo, fault, SYN, tcp, unreachable } from "./testing/flow-packets";
import { ip } from "./testing/switch-world";

const words = (address: Uint8Array): Int32Array => {
  const view = new DataView(address.buffer, address.byteOffset, address.length);
  return Int32Array.from({ length: 4 }, (_, i) => (4 * i < address.length ? view.getInt32(4 * i) : 0));
};
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const packets = fc
  .record({
    v6: fc.boolean(),
    kind: fc.constantFrom("tcp", "udp", "udp without sum", "echo", "error"),
    data: fc.uint8Array({ maxLength: 40 }),
    port: fc.nat(65535),
    from: bytes(16),
    to: bytes(16),
  })
  .map(({ v6, kind, data, port, from, to }) => {
    const [a, b] = v6 ? ["fd00::0003#7", `fd00::0004#${port}`] : ["10.0.0.3:7", `10.0.0.4:${port}`];
    const made =
      kind === "tcp"
        ? tcp(a, b, SYN, data)
        : kind === "echo"
          ? echo(a, b)
          : kind === "error"
            ? unreachable(a, datagram(b, a, data))
            : datagram(a, b, data);
    made.set(v6 ? from : from.subarray(0, 4), v6 ? 8 : 12);
    made.set(v6 ? to : to.subarray(0, 4), v6 ? 24 : 16);
    complete(made);
    if (kind === "udp without sum" && !v6) putU16(made, 26, 0);
    return made;
  });

test("right checksums stay right, and the way back gives the same bytes", () => {
  fc.assert(
    fc.property(packets, fc.constantFrom("source" as const, "destination" as const), bytes(16), (packet, side, to) => {
      const headers = new Headers();
      const before = Uint8Array.from(packet);
      headers.read(packet, 0, packet.length);
      expect(fault(packet)).toBeUndefined();
      const old = headers.key.slice(side === "source" ? 0 : 4, side === "source" ? 4 : 8);
      const sumBefore = addSum(0, packet, 0, packet.length);
      const change = rewriteAddress(headers, packet, 0, side, words(to), 0, false);
      expect(fault(packet)).toBeUndefined();
      expect(addSum(0, packet, 0, packet.length) % 0xffff).toBe((sumBefore + change) % 0xffff);
      headers.read(packet, 0, packet.length);
      rewriteAddress(headers, packet, 0, side, old, 0, false);
      expect(fault(packet)).toBeUndefined();
      expect(packet.length).toBe(before.length);
      for (let i = 0; i < packet.length; i++)
        // 0 and 0xffff are the same sum.
        if (packet[i] !== before[i]) expect([0, 0xff]).toContain(packet[i]);
    }),
    { numRuns: 500 },
  );
});

test("a wrong checksum stays wrong", () => {
  fc.assert(
    fc.property(bytes(16), fc.integer({ min: 1, max: 254 }), (to, by) => {
      for (const packet of [tcp("10.0.0.3:1", "10.0.0.4:2", ACK), datagram("fd00::0003#1", "fd00::0004#2")]) {
        packet[packet.length - 1] ^= by;
        const headers = new Headers();
        headers.read(packet, 0, packet.length);
        rewriteAddress(headers, packet, 0, "destination", words(to), 0, false);
        expect(fault(packet)).toBe("transport checksum");
      }
    }),
  );
});

test("a checksum that its sender left unfinished is finished to the right one", () => {
  fc.assert(
    fc.property(bytes(16), bytes(16), fc.boolean(), (source, destination, udp) => {
      for (const [a, b] of [
        ["10.0.0.3:1", "10.0.0.4:2"],
        ["fd00::0003#1", "fd00::0004#2"],
      ]) {
        const packet = udp ? datagram(a, b) : tcp(a, b, SYN);
        const headers = new Headers();
        headers.read(packet, 0, packet.length);
        const { family, transport, end } = headers;
        const field = transport + (udp ? 6 : 16);
        let sum = pseudoSum(packet, 0, family, udp ? 17 : 6, end - transport);
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
        putU16(packet, field, sum);
        rewriteAddress(headers, packet, 0, "source", words(source), 0, true);
        rewriteAddress(headers, packet, 0, "destination", words(destination), 0, true);
        completeChecksum(headers, packet);
        expect(fault(packet)).toBeUndefined();
      }
    }),
  );
});

test("a fragment without a transport header has only its own checksum changed", () => {
  const packet = datagram("10.0.0.3:1", "10.0.0.4:2", new Uint8Array(16).fill(7));
  putU16(packet, 6, 3);
  complete(packet);
  const body = packet.slice(20);
  const headers = new Headers();
  headers.read(packet, 0, packet.length);
  rewriteAddress(headers, packet, 0, "destination", words(ip("1.2.3.4")), 0, false);
  expect(packet.slice(20)).toEqual(body);
  expect(u16(packet, 16)).toBe(0x0102);
});

test("the packet inside an ICMP error, as far as it is quoted", () => {
  // A quote that ends in the middle of a checksum has none: what is there of it stays as it is.
  const length = fc.integer({ min: 28, max: 120 }).filter((bytes) => bytes !== 37);
  fc.assert(
    fc.property(bytes(16), length, fc.boolean(), (to, quoted, v6) => {
      const [a, b] = v6 ? ["fd00::0003#1", "fd00::0004#2"] : ["10.0.0.3:1", "10.0.0.4:2"];
      const sent = tcp(a, b, SYN, new Uint8Array(40).fill(9));
      const error = unreachable(b, sent, v6 ? quoted + 20 : quoted);
      const headers = new Headers();
      headers.read(error, 0, error.length);
      const inside = new Headers();
      const at = headers.transport + 8;
      inside.readQuoted(error, at, headers.end);
      rewriteQuoted(headers, inside, error, at, "destination", words(to), 0);
      expect(fault(error)).toBeUndefined();
      const expected = Uint8Array.from(sent);
      const plain = new Headers();
      plain.read(expected, 0, expected.length);
      rewriteAddress(plain, expected, 0, "destination", words(to), 0, false);
      expect(error.slice(at)).toEqual(expected.slice(0, error.length - at));
    }),
  );
});
