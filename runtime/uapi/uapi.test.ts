/** The UAPI text protocol without a socket: what wireguard-go answers, we answer. */
import * as fc from "fast-check";
import { KeyPair } from "../wireguard/x25519";
import { formatGet, formatStatus } from "./answer";
import { Conversation, type Request } from "./conversation";
import { InterfaceState } from "./interface-state";

const A = "aa".repeat(32);
const B = "bb".repeat(32);
const PRIVATE = `10${"33".repeat(30)}43`;

/** A device that keeps its state, and answers as a socket would. */
class Fake {
  readonly state = new InterfaceState();

  say(text: string, end = false): string {
    const conversation = new Conversation();
    const requests = [...conversation.feed(Buffer.from(text, "latin1")), ...(end ? conversation.end() : [])];
    return requests.map((request) => this.answer(request)).join("");
  }

  set(...lines: string[]): string {
    return this.say(`set=1\n${lines.map((line) => `${line}\n`).join("")}\n`);
  }

  get(): string {
    return this.say("get=1\n\n").replace(/errno=0\n\n$/, "");
  }

  answer(request: Request): string {
    if (request.kind === "close") return "<closed>";
    if (request.kind === "refuse") return `${formatStatus(request.failure.errno)}<closed>`;
    if (request.kind === "get") {
      const peers = [...this.state.peers.values()].map((peer) => ({ ...peer, tx: 0, rx: 0 }));
      return formatGet({ ...this.state, peers } as never) + formatStatus(0);
    }
    let failed = request.failure;
    for (const operation of request.operations) {
      const fault = this.state.perform(operation);
      if (fault === undefined) continue;
      failed = fault;
      break;
    }
    this.state.endTransaction();
    return formatStatus(failed?.errno ?? 0);
  }
}

const lines = (text: string) => text.split("\n").filter(Boolean);

describe("get", () => {
  it("has a fresh device's nothing", () => {
    expect(new Fake().say("get=1\n\n")).toBe("errno=0\n\n");
  });

  it("tells all that was set, in wireguard-go's order", () => {
    const fake = new Fake();
    const done = fake.set(
      `private_key=${PRIVATE}`,
      "listen_port=51820",
      "fwmark=51820",
      "replace_peers=true",
      `public_key=${A.toUpperCase()}`,
      `preshared_key=${"cc".repeat(32)}`,
      "protocol_version=1",
      "endpoint=[2001:DB8:0::1]:7",
      "persistent_keepalive_interval=25",
      "replace_allowed_ips=true",
      "allowed_ip=10.0.0.7/24",
      "allowed_ip=fd00:0::7/64",
      `public_key=${B}`,
    );
    expect(done).toBe("errno=0\n\n");
    expect(lines(fake.get())).toEqual([
      `private_key=${PRIVATE}`,
      "listen_port=51820",
      "fwmark=51820",
      `public_key=${A}`,
      `preshared_key=${"cc".repeat(32)}`,
      "protocol_version=1",
      "endpoint=[2001:db8::1]:7",
      "last_handshake_time_sec=0",
      "last_handshake_time_nsec=0",
      "tx_bytes=0",
      "rx_bytes=0",
      "persistent_keepalive_interval=25",
      "allowed_ip=10.0.0.0/24",
      "allowed_ip=fd00::/64",
      `public_key=${B}`,
      `preshared_key=${"0".repeat(64)}`,
      "protocol_version=1",
      "last_handshake_time_sec=0",
      "last_handshake_time_nsec=0",
      "tx_bytes=0",
      "rx_bytes=0",
      "persistent_keepalive_interval=0",
    ]);
  });

  it("tells the time of the handshake in seconds and nanoseconds", () => {
    const peer = { publicKey: A, latestHandshake: 1_700_000_000_123, tx: 1, rx: 2 ** 40, persistentKeepalive: 0 };
    const text = formatGet({ listenPort: 0, fwmark: 0, peers: [{ ...peer, allowedIps: [] }] });
    expect(text).toContain("last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=123000000\n");
    expect(text).toContain("tx_bytes=1\nrx_bytes=1099511627776\n");
  });
});

describe("set", () => {
  it.each([
    ["no =", -71, "private_key"],
    ["an unknown key of the device", -22, "colour=red"],
    ["a key of peers before any peer", -22, "allowed_ip=10.0.0.0/8"],
    ["a short private key", -22, "private_key=00"],
    ["a private key that is no hex", -22, `private_key=${"zz".repeat(32)}`],
    ["a port too high", -22, "listen_port=65536"],
    ["a port with a sign", -22, "listen_port=+1"],
    ["an empty port", -22, "listen_port="],
    ["a mark in hex", -22, "fwmark=0x10"],
    ["a mark too high", -22, "fwmark=4294967296"],
    ["replace_peers that is not true", -22, "replace_peers=false"],
    ["a short public key", -22, "public_key=aa"],
    ["an unknown key of a peer", -22, `public_key=${A}`, "listen_port=1"],
    ["a name of JavaScript's own", -22, `public_key=${A}`, "constructor=1"],
    ["an endpoint by name", -22, `public_key=${A}`, "endpoint=example.com:51820"],
    ["an endpoint without a port", -22, `public_key=${A}`, "endpoint=192.0.2.1"],
    ["an IPv6 endpoint without brackets", -22, `public_key=${A}`, "endpoint=::1:51820"],
    ["an IPv4 endpoint with leading zeros", -22, `public_key=${A}`, "endpoint=192.0.2.010:51820"],
    ["a keepalive too long", -22, `public_key=${A}`, "persistent_keepalive_interval=65536"],
    ["an address without a length", -22, `public_key=${A}`, "allowed_ip=10.0.0.1"],
    ["a length too long", -22, `public_key=${A}`, "allowed_ip=10.0.0.1/33"],
    ["a length with a leading zero", -22, `public_key=${A}`, "allowed_ip=10.0.0.1/08"],
    ["another protocol version", -22, `public_key=${A}`, "protocol_version=2"],
    ["update_only that is not true", -22, `public_key=${A}`, "update_only=1"],
    ["remove that is not true", -22, `public_key=${A}`, "remove="],
  ])("refuses %s with %i", (_what, errno, ...text) => {
    expect(new Fake().set(...(text as string[]))).toBe(`errno=${errno}\n\n`);
  });

  it("keeps what stood before a faulty line, and does nothing after it", () => {
    const fake = new Fake();
    expect(fake.set("listen_port=7", `public_key=${A}`, "nonsense=1", "persistent_keepalive_interval=9")).toBe(
      "errno=-22\n\n",
    );
    expect(fake.state.listenPort).toBe(7);
    expect(fake.state.peers.get(A)?.persistentKeepalive).toBe(0);
  });

  it("answers a fault at once, without waiting for the end of the transaction", () => {
    expect(new Fake().say("set=1\nnonsense=1\n")).toBe("errno=-22\n\n");
  });

  it("counts as finished where the other side stops sending", () => {
    const fake = new Fake();
    expect(fake.say("set=1\nlisten_port=9", true)).toBe("errno=0\n\n<closed>");
    expect(fake.state.listenPort).toBe(9);
  });

  it("takes lines that end in CR LF, as Go's scanner does", () => {
    expect(new Fake().say("set=1\nlisten_port=9\r\n\r\n")).toBe("errno=0\n\n");
  });

  it("takes several transactions one after the other", () => {
    expect(new Fake().say("set=1\nlisten_port=9\n\nget=1\n\nset=1\n\n")).toBe(
      "errno=0\n\nlisten_port=9\nerrno=0\n\nerrno=0\n\n",
    );
  });

  it("ignores a peer that is the device itself, and removes one that becomes it", () => {
    const own = Buffer.from(new KeyPair(Buffer.from(PRIVATE, "hex")).publicKey).toString("hex");
    const fake = new Fake();
    fake.set(`public_key=${own}`, "allowed_ip=10.0.0.1/32");
    expect(fake.state.peers.size).toBe(1);
    fake.set(`private_key=${PRIVATE}`);
    expect(fake.state.peers.size).toBe(0);
    expect(fake.set(`public_key=${own}`, "allowed_ip=10.0.0.1/32", `public_key=${A}`)).toBe("errno=0\n\n");
    expect([...fake.state.peers.keys()]).toEqual([A]);
    expect(fake.set(`public_key=${own}`, "allowed_ip=10.0.0.1")).toBe("errno=-22\n\n");
  });

  it("makes no peer with update_only, and takes nothing for one that was removed", () => {
    const fake = new Fake();
    fake.set(`public_key=${A}`, "update_only=true", "allowed_ip=10.0.0.1/32");
    expect(fake.state.peers.size).toBe(0);
    fake.set(`public_key=${A}`, "allowed_ip=10.0.0.1/32");
    fake.set(`public_key=${A}`, "update_only=true", "allowed_ip=10.0.0.2/32");
    expect([...fake.state.peers.get(A)!.allowedIps]).toEqual(["10.0.0.1/32", "10.0.0.2/32"]);
    fake.set(`public_key=${A}`, "remove=true", "persistent_keepalive_interval=3");
    expect(fake.state.peers.size).toBe(0);
    fake.set(`public_key=${B}`, "remove=true");
    expect(fake.state.peers.size).toBe(0);
  });

  it("moves a range to the peer that gets it last, and takes single ranges away", () => {
    const fake = new Fake();
    fake.set(`public_key=${A}`, "allowed_ip=10.0.0.0/24", "allowed_ip=10.0.1.0/24", `public_key=${B}`);
    fake.state.takeChanges();
    fake.set(`public_key=${B}`, "allowed_ip=10.0.0.9/24", "allowed_ip=-10.0.1.0/24");
    expect([...fake.state.peers.get(A)!.allowedIps]).toEqual(["10.0.1.0/24"]);
    expect([...fake.state.peers.get(B)!.allowedIps]).toEqual(["10.0.0.0/24"]);
    expect(fake.state.takeChanges().peers.map(({ peer }) => peer.publicKey)).toEqual([A, B]);
    fake.set(`public_key=${A}`, "allowed_ip=-10.0.1.77/24");
    expect([...fake.state.peers.get(A)!.allowedIps]).toEqual([]);
  });

  it("no key of all zeros is a key", () => {
    const fake = new Fake();
    fake.set(`private_key=${PRIVATE}`, `public_key=${A}`, `preshared_key=${"11".repeat(32)}`);
    fake.set(`private_key=${"0".repeat(64)}`, `public_key=${A}`, `preshared_key=${"0".repeat(64)}`);
    expect(fake.state.privateKey).toBeUndefined();
    expect(fake.state.peers.get(A)!.presharedKey).toBeUndefined();
  });

  it("tells the data plane of a change once, and of an endpoint that was given again", () => {
    const fake = new Fake();
    const changes = () => fake.state.takeChanges();
    fake.set("listen_port=1", `public_key=${A}`, "endpoint=192.0.2.1:1");
    expect(changes()).toMatchObject({ device: true, removed: [], peers: [{ moved: true }] });
    expect(changes()).toEqual({ device: false, removed: [], peers: [] });
    fake.set(`public_key=${A}`, "persistent_keepalive_interval=1");
    expect(changes()).toMatchObject({ device: false, peers: [{ moved: false }] });
    fake.set(`public_key=${A}`, "endpoint=192.0.2.1:1");
    expect(changes()).toMatchObject({ device: false, peers: [{ moved: true }] });
    fake.set("replace_peers=true", `public_key=${A}`);
    expect(changes()).toMatchObject({ removed: [A], peers: [{ moved: false }] });
  });
});

describe("bytes that are no request", () => {
  it.each([
    ["an unknown operation", "put=1\n\n", "<closed>"],
    ["an operation with spaces", "get=1 \n\n", "<closed>"],
    ["something after get", "get=1\nx", "errno=-22\n\n<closed>"],
    ["a line without end", `set=1\n${"x".repeat(70_000)}`, "errno=-5\n\n"],
  ])("%s", (_what, text, answer) => {
    expect(new Fake().say(text)).toBe(answer);
  });

  it("never throws, keeps nothing that grows, and each range has one owner", () => {
    const word = fc.constantFrom(
      ...["set=1", "get=1", "", "\r", "=", "replace_peers=true", "remove=true", "update_only=true", "listen_port=7"],
      ...[
        `public_key=${A}`,
        `public_key=${B}`,
        `private_key=${PRIVATE}`,
        "allowed_ip=10.0.0.0/8",
        "endpoint=1.2.3.4:5",
      ],
      ...["allowed_ip=-10.0.0.0/8", "replace_allowed_ips=true", "persistent_keepalive_interval=9", "allowed_ip=::/0"],
    );
    const input = fc.array(fc.oneof({ weight: 8, arbitrary: word }, fc.string()), { maxLength: 40 });
    fc.assert(
      fc.property(input, fc.integer({ min: 1, max: 50 }), (words, step) => {
        const fake = new Fake();
        const bytes = Buffer.from(`set=1\n${words.join("\n")}\n\n`, "latin1");
        const whole = fake.say(bytes.toString("latin1"), true);
        // In whatever pieces they come, the same bytes mean the same.
        const pieces = new Conversation();
        const requests: Request[] = [];
        for (let at = 0; at < bytes.length; at += step) requests.push(...pieces.feed(bytes.subarray(at, at + step)));
        requests.push(...pieces.end());
        const other = new Fake();
        const answer = requests.map((request) => other.answer(request));
        expect(answer.join("")).toBe(whole);
        expect(other.get()).toBe(fake.get());
        const ranges = [...fake.state.peers.values()].flatMap((peer) => [...peer.allowedIps]);
        expect(new Set(ranges).size).toBe(ranges.length);
      }),
    );
  });
});
