/** Random policies on real packets: members in namespaces on two hosts, each pair and port against the rules read word by word. */
import * as fc from "fast-check";
import ipaddr from "ipaddr.js";
import { type KeyPair, newKeyPair } from "../../test/support/keys";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import { type Flow, Prober } from "../../test/support/prober";
import { seededRandom } from "../../test/support/programs/random";
import { Scratch } from "../../test/support/scratch";
import type { DataPlaneConfig, GatewayConfig, LinkConfig, PolicyConfig } from "./config";
import { DataPlane } from "./dataplane";
import { type Protocol, policies, slowly } from "./testing/policy-oracle";

/** A failure names it: the same seed draws the same policies. */
const SEED = Number(process.env.WARREN_TEST_SEED ?? 20_260);
const ROUNDS = 16;

const HOSTS = ["ord", "iad"] as const;
type Host = (typeof HOSTS)[number];

/** Last part of each member's address, inside what random rules are about, and its host. */
const MEMBERS: readonly (readonly [number, Host])[] = [
  [3, "ord"],
  [4, "ord"],
  [6, "ord"],
  [8, "iad"],
  [9, "iad"],
];
const PORTS = [2, 5, 9, 14];
/** Which every policy here leaves open. */
const OPEN = 4000;

interface Member {
  readonly last: number;
  readonly host: Host;
  readonly namespace: Namespace;
  readonly link: LinkConfig;
  prober?: Prober;
}

/** What each host enforces; a policy reaches hosts one after the other, and for a while only one may have it. */
type Enforced = Readonly<Record<Host, PolicyConfig | undefined>>;

const both = (last: number): [string, string] => [`10.0.0.${last}`, `fd00::${last}`];

function allowed(enforced: Enforced, from: Member, to: Member, { to: address, protocol, port }: Flow): boolean {
  const bytes = (text: string) => Uint8Array.from(ipaddr.parse(text).toByteArray());
  const source = bytes(both(from.last)[address.includes(":") ? 1 : 0]);
  return [from.host, to.host].every((host) => {
    const policy = enforced[host];
    return policy === undefined || slowly(policy, source, bytes(address), protocol as Protocol, port);
  });
}

function withOpenPort(policy: PolicyConfig): PolicyConfig {
  const everyone = ["0.0.0.0/0", "::/0"];
  return {
    ...policy,
    rules: [...policy.rules, { from: everyone, to: everyone, protocol: "udp", ports: [[OPEN, OPEN]] }],
  };
}

describeNeeding(["linux", "root", "tun", "ip"], "random policies on real packets", () => {
  let scratch: Scratch;
  let plane: DataPlane;
  let members: Member[];
  let ports: Readonly<Record<string, number>> = {};
  const keys: Record<Host, KeyPair> = { ord: newKeyPair(), iad: newKeyPair() };

  const gateway = (host: Host, policy: PolicyConfig | undefined): GatewayConfig => {
    const [other] = HOSTS.filter((name) => name !== host);
    const at = (where: Host) => members.filter((member) => member.host === where);
    return {
      id: `net/${host}`,
      port: host,
      privateKey: keys[host].privateKey,
      mtu: 1420,
      gatewayIps: both(1),
      dnsIps: both(2),
      ...(policy ? { policy } : {}),
      links: at(host).map(({ link }) => link),
      peers: [
        {
          publicKey: keys[other].publicKey,
          allowedIps: at(other).flatMap(({ last }) => [`10.0.0.${last}/32`, `fd00::${last}/128`]),
          persistentKeepalive: 0,
          initiate: false,
          gateway: true,
          ...(ports[other] ? { endpoint: `127.0.0.1:${ports[other]}` } : {}),
        },
      ],
    };
  };

  async function enforce(enforced: Enforced): Promise<void> {
    const config: DataPlaneConfig = {
      ports: HOSTS.map((id) => ({ id, listen: ["127.0.0.1"], port: ports[id] ?? 0 })),
      gateways: HOSTS.map((host) => gateway(host, enforced[host])),
    };
    const result = await plane.apply(config);
    expect(result.problems).toEqual([]);
    ports = result.ports;
  }

  async function newMember(last: number, host: Host): Promise<Member> {
    const namespace = await Namespace.create(scratch, String(last));
    const source = { kind: "open", name: "warren0", netns: `/run/netns/${namespace.name}` } as const;
    return { last, host, namespace, link: { id: `m${last}`, source, addresses: both(last) } };
  }

  beforeAll(async () => {
    scratch = new Scratch();
    members = await Promise.all(MEMBERS.map(([last, host]) => newMember(last, host)));
    plane = await DataPlane.start({ log: () => undefined });
    for (let i = 0; i < 2; i++) await enforce({ ord: undefined, iad: undefined });
    await Promise.all(
      members.map(async (member) => {
        const { namespace, last } = member;
        await namespace.addAddress("warren0", `10.0.0.${last}/24`);
        await namespace.addAddress("warren0", `fd00::${last}/64`);
        await namespace.ip("link", "set", "warren0", "mtu", "1420", "up");
        member.prober = await Prober.start(namespace, { ports: PORTS, open: OPEN });
      }),
    );
  }, 30_000);

  afterAll(async () => {
    await plane?.stop();
    await scratch?.dispose();
  });

  /** Every other member, protocol and port, on both families. */
  const flowsFrom = (from: Member, round: number): Omit<Flow, "expected" | "keep">[] =>
    members
      .filter((to) => to !== from)
      .flatMap((to) =>
        both(to.last).flatMap((address) => [
          ...PORTS.flatMap((port) => (["tcp", "udp"] as const).map((protocol) => ({ address, protocol, port }))),
          { address, protocol: "icmp" as const, port: 0 },
        ]),
      )
      .map(({ address, protocol, port }) => ({
        id: `${round}:${from.last}>${address}/${protocol}/${port}`,
        to: address,
        protocol,
        port,
      }));

  const ownerOf = (address: string) => members.find((member) => both(member.last).includes(address))!;

  /** Has all members start or go on with flows, and says where rules and packets differ. */
  async function compare(round: number, flows: ReadonlyMap<Member, readonly Flow[]>): Promise<string[]> {
    const outcomes = new Map(
      await Promise.all(members.map(async (m) => [m, await m.prober!.probe(round, flows.get(m)!)] as const)),
    );
    const arrived = new Set((await Promise.all(members.map((m) => m.prober!.arrived(round)))).flat());
    return members.flatMap((from) =>
      flows.get(from)!.flatMap(({ id, expected }) => {
        const outcome = outcomes.get(from)![id];
        if (expected ? outcome === "answered" : outcome === "silent" && !arrived.has(id)) return [];
        const came = arrived.has(id) ? " and arrived" : "";
        return [`${id} is ${expected ? "allowed" : "denied"}, and was ${outcome}${came}`];
      }),
    );
  }

  test("what is allowed is answered, what is denied does not even arrive, and so it is with what already runs", async () => {
    const random = seededRandom(SEED);
    const drawn = fc.sample(policies, { seed: SEED, numRuns: ROUNDS }).map((policy): PolicyConfig => {
      // Few rules leave much closed, many leave little.
      return withOpenPort({ ...policy, rules: policy.rules.slice(0, Math.floor(random() * 16)) });
    });
    const counts = { allowed: 0, denied: 0, stayed: 0, cut: 0 };
    let running = new Map<Member, Flow[]>(members.map((member) => [member, []]));
    for (const [round, policy] of [undefined, ...drawn, undefined].entries()) {
      const where = policy && random() < 0.25 ? HOSTS[Math.floor(random() * 2)] : "both";
      const enforced: Enforced = {
        ord: where === "iad" ? undefined : policy,
        iad: where === "ord" ? undefined : policy,
      };
      await enforce(enforced);
      const judge = (from: Member, flow: Flow): Flow => ({
        ...flow,
        expected: allowed(enforced, from, ownerOf(flow.to), flow),
      });

      const old = new Map(members.map((from) => [from, running.get(from)!.map((flow) => judge(from, flow))]));
      // An echo is over with its answer.
      const kept = ({ protocol }: Pick<Flow, "protocol">) => protocol !== "icmp" && random() < 0.4;
      const begin = (from: Member) =>
        flowsFrom(from, round).map((flow) => judge(from, { ...flow, expected: false, keep: kept(flow) }));
      const fresh = new Map(members.map((from) => [from, begin(from)]));
      const scene = `seed ${SEED}, round ${round}, policy on ${where}: ${JSON.stringify(policy)}`;
      try {
        const faults = [...(await compare(round, old)), ...(await compare(round, fresh))];
        if (faults.length > 0) throw new Error(`${faults.slice(0, 20).join("\n")}\n${faults.length} in all`);
      } catch (error) {
        throw new Error(`${scene}\n${(error as Error).message}`, { cause: error });
      }

      running = new Map();
      for (const from of members) {
        const [was, now] = [old.get(from)!, fresh.get(from)!];
        running.set(from, [...was.filter((f) => f.expected), ...now.filter((f) => f.expected && f.keep)]);
        counts.stayed += was.filter((f) => f.expected).length;
        counts.cut += was.filter((f) => !f.expected).length;
        counts.allowed += now.filter((f) => f.expected).length;
        counts.denied += now.filter((f) => !f.expected).length;
      }
    }
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(200);
  }, 60_000);
});
