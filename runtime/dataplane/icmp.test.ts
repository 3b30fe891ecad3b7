import { type IcmpError, icmpError, MAX_ICMP_ERROR } from "./icmp";
import { ip, packet, udp } from "./testing/switch-world";

const UNREACHABLE = 1;
const TOO_BIG = 2;
const TIME_EXCEEDED = 3;
const PARAMETER_PROBLEM = 4;
const ECHO_REQUEST = 128;

const icmp = (type: number): Uint8Array => Uint8Array.from([type, 0, 0, 0, 0, 0, 0, 0, ...new Array(48).fill(0)]);

/** @param headers extension headers by their numbers, of 8 bytes each; `last` is what comes behind them */
function behind(headers: readonly number[], last: number, payload: Uint8Array): Uint8Array {
  const numbers = [...headers, last];
  const chain = headers.flatMap((_, i) => [numbers[i + 1], 0, 0, 0, 0, 0, 0, 0]);
  return packet("fd00::0003", "fd00::0020", numbers[0], Uint8Array.from([...chain, ...payload]));
}

function lengthOfError(about: Uint8Array, kind: IcmpError = "host-unreachable"): number {
  const family = about[0] >>> 4 === 4 ? 4 : 6;
  const from = ip(family === 4 ? "10.0.0.1" : "fd00::0001");
  // Among other bytes, as in a device's buffer.
  const buf = new Uint8Array(about.length + 400).fill(0x01);
  buf.set(about, 200);
  return icmpError(kind, buf, 200, about.length, family, from, new Uint8Array(MAX_ICMP_ERROR), 0);
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const OPTIONS = 60;
const CHAINS = [
  [],
  [HOP_BY_HOP],
  [ROUTING],
  [FRAGMENT],
  [AUTHENTICATION],
  [OPTIONS],
  [HOP_BY_HOP, OPTIONS, ROUTING, FRAGMENT, AUTHENTICATION, OPTIONS],
];

describe("an ICMP error", () => {
  test.each(CHAINS.map((chain) => ({ chain })))(
    "is never the answer to an ICMPv6 error, also behind the extension headers $chain",
    ({ chain }) => {
      for (const kind of ["host-unreachable", "too-big", "time-exceeded", "prohibited"] as const)
        for (const type of [UNREACHABLE, TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM, 127])
          expect(lengthOfError(behind(chain, 58, icmp(type)), kind)).toBe(0);
      const about = behind(chain, 58, icmp(ECHO_REQUEST));
      expect(lengthOfError(about)).toBe(48 + about.length);
      const datagram = behind(chain, 17, udp(9, new Uint8Array(20)));
      expect(lengthOfError(datagram)).toBe(48 + datagram.length);
    },
  );

  test("is none about what cannot be told from one: too many headers, or a chain that is cut short", () => {
    const eight = behind(new Array(8).fill(OPTIONS), 17, udp(9, new Uint8Array(20)));
    expect(lengthOfError(eight)).toBe(48 + eight.length);
    expect(lengthOfError(behind(new Array(9).fill(OPTIONS), 17, udp(9, new Uint8Array(20))))).toBe(0);
    for (const last of [58, 99]) {
      const long = behind([OPTIONS], last, icmp(ECHO_REQUEST));
      long[41] = 20;
      expect(lengthOfError(long)).toBe(0);
    }
    expect(lengthOfError(behind([OPTIONS], 58, new Uint8Array(0)))).toBe(0);
  });

  test("is none about a fragment but the first, also behind extension headers", () => {
    const part = (offset: number): Uint8Array => {
      const bytes = behind([OPTIONS, FRAGMENT], 17, udp(9, new Uint8Array(20)));
      bytes[51] = offset | 1;
      return bytes;
    };
    expect([lengthOfError(part(0)) > 0, lengthOfError(part(8))]).toEqual([true, 0]);
  });

  test("over IPv4 is the answer to echo requests and replies alone of all ICMP", () => {
    const answered = [0, 3, 4, 5, 8, 11, 12, 13].filter(
      (type) => lengthOfError(packet("10.0.0.3", "10.0.0.20", 1, icmp(type))) > 0,
    );
    expect(answered).toEqual([0, 8]);
  });
});
