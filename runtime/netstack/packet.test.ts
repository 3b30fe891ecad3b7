import { seededRandom } from "../../test/support/programs/random";
import { addSum, checksum, putU16 } from "../dataplane/inet";
import { IpPacket } from "./packet";
import { fragment, HERE, icmpPacket, ipPacket, THERE, udpPacket } from "./testing/lab";

const DATA = Uint8Array.from({ length: 40 }, (_, i) => i);

function withOptions(options: readonly number[]): Uint8Array {
  const plain = udpPacket(4, [1, 2], DATA);
  const out = new Uint8Array(plain.length + options.length);
  out.set(plain.subarray(0, 20));
  out.set(options, 20);
  out.set(plain.subarray(20), 20 + options.length);
  out[0] = 0x40 | (5 + options.length / 4);
  putU16(out, 2, out.length);
  putU16(out, 10, 0);
  putU16(out, 10, checksum(addSum(0, out, 0, 20 + options.length)));
  return out;
}

/** @param headers each with its own number and its bytes from the third on */
function withExtensions(headers: readonly (readonly [number, readonly number[]])[], last = 17): Uint8Array {
  const parts = headers.map(([, bytes], i) => {
    const part = new Uint8Array(2 + bytes.length);
    part[0] = headers[i + 1]?.[0] ?? last;
    part[1] = part.length / 8 - 1;
    part.set(bytes, 2);
    return part;
  });
  const payload = Uint8Array.from([...parts.flatMap((part) => [...part]), ...udpPacket(6, [1, 2], DATA).subarray(40)]);
  return ipPacket({ family: 6, protocol: headers[0]?.[0] ?? last, payload });
}

const PADDING = [1, 4, 0, 0, 0, 0];

describe("the IP layer of a packet", () => {
  const packet = new IpPacket();
  const read = (bytes: Uint8Array) => packet.read(bytes, 0, bytes.length);

  it("is found in plain packets", () => {
    expect(read(udpPacket(4, [1, 2], DATA))).toBeUndefined();
    expect(packet).toMatchObject({ family: 4, protocol: 17, transport: 20, payload: 48, fragment: false });
    expect(read(udpPacket(6, [1, 2], DATA))).toBeUndefined();
    expect(packet).toMatchObject({ family: 6, protocol: 17, transport: 40, payload: 48, fragment: false });
  });

  it("is found behind IPv4 options, but for source routes", () => {
    expect(read(withOptions([1, 1, 7, 4, 0, 0, 0, 0]))).toBeUndefined();
    expect(packet).toMatchObject({ transport: 28, payload: 48 });
    expect(read(withOptions([131, 4, 4, 0]))).toBe("options");
    expect(read(withOptions([137, 4, 4, 0]))).toBe("options");
    // An option that runs over the header, and one without a length.
    expect(read(withOptions([7, 9, 0, 0]))).toBe("options");
    expect(read(withOptions([1, 1, 1, 7]))).toBe("options");
  });

  it("is found behind IPv6 extension headers", () => {
    const routing = [0, 0, 0, 0, 0, 0];
    const headers = [
      [0, PADDING],
      [60, PADDING],
      [43, routing],
    ] as const;
    expect(read(withExtensions(headers))).toBeUndefined();
    expect(packet).toMatchObject({ protocol: 17, transport: 64, payload: 48 });
  });

  it("refuses extension headers that a node may not ignore, and too many", () => {
    expect(read(withExtensions([[0, [0xc2, 4, 0, 0, 0, 0]]]))).toBe("options");
    expect(read(withExtensions([[43, [0, 1, 0, 0, 0, 0]]]))).toBe("options");
    expect(
      read(
        withExtensions([
          [60, PADDING],
          [0, PADDING],
        ]),
      ),
    ).toBe("options");
    expect(read(withExtensions(Array.from({ length: 9 }, () => [60, PADDING] as const)))).toBe("options");
    expect(read(withExtensions([[60, PADDING]], 59))).toBe("protocol");
    const short = withExtensions([[60, PADDING]]);
    short[41] = 200;
    expect(read(short)).toBe("malformed");
  });

  it("tells fragments, and takes a lone one for whole", () => {
    expect(read(fragment(udpPacket(4, [1, 2], DATA), 8, DATA.subarray(0, 16), true, 5))).toBeUndefined();
    expect(packet).toMatchObject({ fragment: true, fragmentOffset: 8, moreFragments: true, identification: 5 });
    expect(read(fragment(udpPacket(6, [1, 2], DATA), 8, DATA.subarray(0, 16), true, 5))).toBeUndefined();
    expect(packet).toMatchObject({ fragment: true, fragmentOffset: 8, moreFragments: true, protocol: 17 });
    const whole = udpPacket(6, [1, 2], DATA);
    expect(read(fragment(whole, 0, whole.subarray(40), false))).toBeUndefined();
    expect(packet).toMatchObject({ fragment: false, transport: 48, payload: 48, protocol: 17 });
  });

  it("refuses wrong lengths and checksums", () => {
    for (const family of [4, 6] as const) {
      const good = udpPacket(family, [1, 2], DATA);
      for (let len = 0; len < good.length; len++) expect(packet.read(good, 0, len)).toBe("malformed");
    }
    const damaged = udpPacket(4, [1, 2], DATA);
    damaged[8]--;
    expect(read(damaged)).toBe("checksum");
    expect(read(Uint8Array.from({ length: 60 }, () => 0x55))).toBe("malformed");
  });

  it("never leaves the packet, whatever the bytes", () => {
    const random = seededRandom(11);
    const seeds = [
      udpPacket(4, [1, 2], DATA),
      withOptions([1, 1, 7, 4, 0, 0, 0, 0]),
      withExtensions([
        [0, PADDING],
        [60, PADDING],
        [43, [0, 0, 0, 0, 0, 0]],
      ]),
      fragment(udpPacket(6, [1, 2], DATA), 8, DATA, true),
      icmpPacket(4, 3, 4, udpPacket(4, [3, 4], DATA), { from: THERE[4], to: HERE[4] }),
    ];
    const outside: Uint8Array[] = [];
    let read = 0;
    for (let i = 0; i < 20_000; i++) {
      const bytes = seeds[i % seeds.length].slice();
      for (let changes = 1 + random() * 6; changes > 0; changes--)
        bytes[Math.floor(random() * Math.min(64, bytes.length))] = random() * 256;
      const len = random() < 0.3 ? Math.floor(random() * bytes.length) : bytes.length;
      if (random() < 0.8 && bytes[0] >>> 4 === 4 && len >= 60) {
        putU16(bytes, 10, 0);
        putU16(bytes, 10, checksum(addSum(0, bytes, 0, Math.max(20, (bytes[0] & 15) * 4))));
      }
      if (packet.read(bytes, 0, len) !== undefined) continue;
      const end = packet.transport + packet.payload;
      if (packet.transport < (packet.family === 4 ? 20 : 40) || packet.payload < 0 || end > len) outside.push(bytes);
      read++;
    }
    expect(outside).toEqual([]);
    expect(read).toBeGreaterThan(1000);
  });
});
