/**
 * One member of a network in a test: it answers on all its ports, and starts flows to others when it is told to. Takes ProberOptions as
 * JSON and prints `ready`; then each line of input is a ProbeRequest, each line of output a ProbeReply.
 */
import * as dgram from "node:dgram";
import * as net from "node:net";
import * as readline from "node:readline";
import { EchoSocket } from "../../../runtime/userspace/echo";

export interface ProberOptions {
  /** TCP and UDP, both answered with what came. */
  readonly ports: readonly number[];
  /** A UDP port that everyone may reach: its answer says that what was sent before has arrived, or never will. */
  readonly open: number;
}

export interface Flow {
  /** One that still runs goes on; another one begins. */
  readonly id: string;
  readonly to: string;
  readonly protocol: "tcp" | "udp" | "icmp";
  readonly port: number;
  /** It is waited for. */
  readonly expected: boolean;
  /** It stays open, where it is answered. */
  readonly keep: boolean;
}

export interface ProbeRequest {
  readonly round: number;
  readonly flows: readonly Flow[];
}

export interface ProbeReply {
  /** By flow; `connected`: the handshake alone was answered. */
  readonly outcomes: Readonly<Record<string, Outcome>>;
}

export type Outcome = "silent" | "connected" | "answered";

/** What came of others' flows, asked for by a line `arrived ROUND`: their ids. */
export type Arrived = readonly string[];

/** Milliseconds: between datagrams of one flow, after the last sign of the way, and for all of a request. */
const AGAIN = 200;
const GRACE = 50;
const DEADLINE = 8000;

const options: ProberOptions = JSON.parse(process.argv[2]);
const arrived = new Map<number, Set<string>>();

/** What travels: the round, a space, the flow's id. */
function note(message: string): void {
  for (const line of message.split("\n").filter(Boolean)) {
    const [round, id] = line.split(" ");
    const ids = arrived.get(Number(round)) ?? new Set();
    arrived.set(Number(round), ids.add(id));
  }
}

async function listen(port: number): Promise<void> {
  const server = net.createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", (data) => {
      note(data.toString());
      socket.write(data);
    });
  });
  const udp = dgram.createSocket("udp6");
  udp.on("message", (message, from) => {
    note(message.toString());
    udp.send(message, from.port, from.address, () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(port, "::", resolve));
  await new Promise<void>((resolve) => udp.bind(port, "::", resolve));
}

abstract class Running {
  outcome: Outcome = "silent";
  protected token = "";

  constructor(readonly flow: Flow) {}

  /** @returns once it is on its way */
  begin(round: number): Promise<void> {
    this.outcome = "silent";
    this.token = `${round} ${this.flow.id}`;
    return this.send();
  }

  /** Where nobody else sends lost packets again. */
  again(): void {
    if (this.outcome !== "answered") void this.send();
  }

  protected heard(text: string): void {
    if (text.split("\n").includes(this.token)) this.outcome = "answered";
  }

  protected abstract send(): Promise<void>;
  abstract close(): void;
}

class TcpFlow extends Running {
  private readonly socket: net.Socket;

  constructor(flow: Flow) {
    super(flow);
    this.socket = net.connect({ host: flow.to, port: flow.port });
    this.socket.setNoDelay();
    this.socket.on("connect", () => {
      if (this.outcome === "silent") this.outcome = "connected";
    });
    this.socket.on("data", (data) => this.heard(data.toString()));
    this.socket.on("error", () => undefined);
  }

  protected async send(): Promise<void> {
    this.socket.write(`${this.token}\n`);
  }

  override again(): void {}

  close(): void {
    this.socket.resetAndDestroy();
  }
}

class UdpFlow extends Running {
  // Not connected: a refusal of one datagram is no error of the next.
  private readonly socket = dgram.createSocket(net.isIPv6(this.flow.to) ? "udp6" : "udp4");

  constructor(flow: Flow) {
    super(flow);
    this.socket.on("message", (message) => this.heard(message.toString()));
    this.socket.on("error", () => undefined);
  }

  protected send(): Promise<void> {
    return new Promise((resolve) => this.socket.send(this.token, this.flow.port, this.flow.to, () => resolve()));
  }

  close(): void {
    this.socket.close();
  }
}

class Echo extends Running {
  protected async send(): Promise<void> {
    ping!.send(this.flow.to, Buffer.from(this.token), (data) => this.heard(Buffer.from(data).toString()));
  }

  close(): void {}
}

const ping = EchoSocket.open();
const KINDS = { tcp: TcpFlow, udp: UdpFlow, icmp: Echo };
const running = new Map<string, Running>();

async function probe({ round, flows }: ProbeRequest): Promise<ProbeReply> {
  const all = flows.map((flow) => running.get(flow.id) ?? new KINDS[flow.protocol](flow));
  await Promise.all(all.map((one) => one.begin(round)));
  // Sent last, and by then all else that passes has.
  const signs = [...new Set(flows.map(({ to }) => to))].map(
    (to) => new UdpFlow({ id: "sign", to, protocol: "udp", port: options.open, expected: true, keep: false }),
  );
  await Promise.all(signs.map((sign) => sign.begin(round)));
  const deadline = performance.now() + DEADLINE;
  const due = [...signs, ...all.filter((_, i) => flows[i].expected)];
  for (let next = performance.now() + AGAIN; performance.now() < deadline; ) {
    if (due.every(({ outcome }) => outcome === "answered")) break;
    await sleep(5);
    if (performance.now() < next) continue;
    next += AGAIN;
    for (const one of due) one.again();
  }
  const lost = signs.find(({ outcome }) => outcome !== "answered");
  if (lost) throw new Error(`no answer from ${lost.flow.to}:${options.open}, which everyone may reach`);
  await sleep(GRACE);
  for (const sign of signs) sign.close();
  const outcomes: Record<string, Outcome> = {};
  for (const [i, one] of all.entries()) {
    const { id, keep } = flows[i];
    outcomes[id] = one.outcome;
    if (keep && one.outcome === "answered") running.set(id, one);
    else {
      running.delete(id);
      one.close();
    }
  }
  return { outcomes };
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function main(): Promise<void> {
  if (!ping) throw new Error("no ping sockets: net.ipv4.ping_group_range leaves out this group");
  await Promise.all([...options.ports, options.open].map(listen));
  console.log(JSON.stringify("ready"));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, round] = line.split(" ");
    const answer = word === "arrived" ? [...(arrived.get(Number(round)) ?? [])] : await probe(JSON.parse(line));
    console.log(JSON.stringify(answer));
  }
  process.exit();
}

void main();
