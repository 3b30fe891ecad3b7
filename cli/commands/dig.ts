/** `warren dig`: asks the DNS code that answers at a network's `.2`, as a member or as this machine. */
import { randomInt } from "node:crypto";
import { isIP } from "node:net";
import * as dnsPacket from "dns-packet";
import ipaddr from "ipaddr.js";
import type { ControlClient } from "../../provider/client";
import type { MemberRecord, NetworkRecord, Status } from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import { type Context, findAnyMember, pickInstance, pickNetwork, print, printJson, withControl } from "../context";
import { table } from "../table";

export interface DigOptions extends Context {
  /** A member: `NAME` or `NETWORK/NAME`. */
  readonly as?: string;
  /** Of the app that asks: `ord/0` or a region. */
  readonly instance?: string;
  readonly network?: string;
  /** Only the data. */
  readonly short: boolean;
}

const TYPES = ["A", "AAAA", "ANY", "CAA", "CNAME", "DS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "TXT"] as const;
type DigType = (typeof TYPES)[number];

/** What a name is asked for where no type is given: one after the other, until something is there. */
const USUAL: readonly (readonly DigType[])[] = [["A", "AAAA"], ["TXT"], ["SRV"], ["PTR"]];

interface Record {
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  readonly data: string;
}

interface Answer {
  readonly name: string;
  /** `NOERROR`, `NXDOMAIN`, … */
  readonly status: string;
  readonly records: readonly Record[];
}

type Ask = (name: string, type: DigType) => Promise<Answer>;

/** @throws WarrenError WARREN_NOT_FOUND for a name that does not exist or has nothing of that type. */
export async function dig(name: string, typeText: string | undefined, options: DigOptions): Promise<void> {
  const type = typeText === undefined ? undefined : parseType(typeText);
  await withControl(async (client) => {
    const status = await client.status();
    const as = options.as === undefined ? undefined : findAnyMember(status, options.as, options.network, "--as");
    const network = pickNetwork(status, as?.networkName ?? options.network);
    const from = askerOf(status, as, options.instance);
    const ask: Ask = (asked, askedType) => question(client, network, from, asked, askedType);
    const answer = await search(name, network.spec.domain, type === undefined ? USUAL : [[type]], ask);
    if (options.json) {
      const asker = as === undefined ? null : as.name;
      printJson({
        network: network.spec.name,
        as: asker,
        name: answer.name,
        status: answer.status,
        answers: answer.records,
      });
      if (answer.records.length === 0) process.exitCode = 1;
      return;
    }
    if (answer.records.length === 0) throw nothing(answer, type, network);
    if (options.short) for (const { data } of answer.records) print(data);
    else
      print(
        table(
          ["NAME", "TTL", "TYPE", "DATA"],
          answer.records.map((record) => [record.name, String(record.ttl), record.type, record.data]),
        ),
      );
  });
}

/** @returns the id of the member or instance that asks; undefined: this machine */
function askerOf(status: Status, as: MemberRecord | undefined, instance: string | undefined): string | undefined {
  if (instance === undefined) return as?.id;
  if (as?.kind === "app") return pickInstance(status, as, instance).id;
  throw new WarrenError("WARREN_INVALID_INPUT", "--instance says which one of an app asks: name the app with --as.", {
    path: "--instance",
  });
}

/**
 * The addresses that somebody gets for a name; an address is its own. Empty: there are none.
 * @param from id of the member or instance that asks; undefined: this machine
 */
export async function addressesOf(
  client: ControlClient,
  network: NetworkRecord,
  from: string | undefined,
  name: string,
): Promise<string[]> {
  if (isIP(name)) return [ipaddr.parse(name).toString()];
  const ask: Ask = (asked, type) => question(client, network, from, asked, type);
  const { records } = await search(name, network.spec.domain, [["A", "AAAA"]], ask);
  return records.filter(({ type }) => type === "A" || type === "AAAA").map(({ data }) => data);
}

/** As a resolver with the domain in its search list does (resolv.conf(5), ndots:1); an address stands for its own name. */
async function search(name: string, domain: string, types: readonly (readonly DigType[])[], ask: Ask): Promise<Answer> {
  if (isIP(name)) return first(arpa(name), [["PTR"]], ask);
  if (name.endsWith(".")) return first(name.slice(0, -1) || ".", types, ask);
  const inDomain = `${name}.${domain}`;
  // A bare name comes last, and others than the two of ours are no host's.
  const order = name.includes(".") ? [name, inDomain] : name === domain || name === "flycast" ? [name] : [inDomain];
  let answer: Answer | undefined;
  for (const candidate of order) {
    const next = await first(candidate, types, ask);
    // What is said of the name as it was given counts, if the other one brings nothing.
    if (next.records.length > 0 || next.status === "NOERROR") return next;
    answer ??= next;
  }
  return answer!;
}

async function first(name: string, types: readonly (readonly DigType[])[], ask: Ask): Promise<Answer> {
  let last: Answer | undefined;
  for (const together of types) {
    const answers = await Promise.all(together.map((type) => ask(name, type)));
    const records = answers.flatMap((answer) => answer.records);
    last = { ...answers[0]!, records };
    if (records.length > 0 || last.status !== "NOERROR") return last;
  }
  return last!;
}

async function question(
  client: ControlClient,
  network: NetworkRecord,
  from: string | undefined,
  name: string,
  type: DigType,
): Promise<Answer> {
  let message: Uint8Array;
  try {
    checkName(name);
    message = dnsPacket.encode({
      type: "query",
      id: randomInt(0x10000),
      flags: dnsPacket.RECURSION_DESIRED,
      questions: [{ name, type: type as dnsPacket.RecordType }],
    });
  } catch (cause) {
    const message = `"${name}" is no domain name: labels have 1 to 63 bytes, all together at most 253.`;
    throw new WarrenError("WARREN_INVALID_INPUT", message, { path: "name", cause });
  }
  return readAnswer(name, await client.dns(network.id, message, from));
}

/** @throws WarrenError WARREN_UNREACHABLE: what others than we answer may be anything */
export function readAnswer(name: string, message: Uint8Array): Answer {
  try {
    const reply = dnsPacket.decode(Buffer.from(message));
    const { rcode } = reply as unknown as { rcode: string };
    const records = (reply.answers ?? []).map((record) => {
      const { ttl = 0 } = record as { ttl?: number };
      return { name: plain(record.name), type: record.type, ttl, data: plain(dataText(record)) };
    });
    return { name, status: rcode, records };
  } catch (cause) {
    const said = `The answer for ${name} is no DNS message that can be read: look at this machine's resolvers (/etc/resolv.conf).`;
    throw new WarrenError("WARREN_UNREACHABLE", said, { cause });
  }
}

function checkName(name: string): void {
  if (name === ".") return;
  if (name.length > 253 || name.split(".").some((label) => label.length === 0 || Buffer.byteLength(label) > 63))
    throw new Error("a label is empty or too long");
}

/** As dig shows them: nothing that others send may steer a terminal. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, (char) => `\\${String(char.charCodeAt(0)).padStart(3, "0")}`);
}

function dataText({ type, data }: dnsPacket.Answer & { data?: unknown }): string {
  if (typeof data === "string") return data;
  if (type === "TXT") return (data as Buffer[]).map((text) => JSON.stringify(text.toString("latin1"))).join(" ");
  if (type === "SRV") {
    const { priority = 0, weight = 0, port, target } = data as dnsPacket.SrvData;
    return `${priority} ${weight} ${port} ${target}`;
  }
  if (type === "MX") {
    const { preference = 0, exchange } = data as dnsPacket.MxData;
    return `${preference} ${exchange}`;
  }
  if (type === "SOA") {
    const { mname, rname, serial, refresh, retry, expire, minimum } = data as dnsPacket.SoaData;
    return [mname, rname, serial, refresh, retry, expire, minimum].join(" ");
  }
  return Buffer.isBuffer(data) ? data.toString("hex") : JSON.stringify(data);
}

function arpa(address: string): string {
  const parsed = ipaddr.parse(address);
  const digits =
    parsed.kind() === "ipv4" ? parsed.toByteArray() : [...Buffer.from(parsed.toByteArray()).toString("hex")];
  return `${digits.reverse().join(".")}.${parsed.kind() === "ipv4" ? "in-addr" : "ip6"}.arpa`;
}

function nothing({ name, status }: Answer, type: DigType | undefined, network: NetworkRecord): WarrenError {
  const { domain } = network.spec;
  const ours = name === domain || name.endsWith(`.${domain}`) || name.endsWith(".flycast");
  if (status === "NXDOMAIN") {
    const where = ours ? ` in ${network.spec.name}: \`warren peers\` shows its members` : "";
    return new WarrenError("WARREN_NOT_FOUND", `${name} does not exist${where}.`);
  }
  if (status === "NOERROR")
    return new WarrenError(
      "WARREN_NOT_FOUND",
      `${name} exists, but has no ${type ?? "address, text, service or name"}${type ? " record" : ""}.`,
    );
  const why = ours ? "" : "; this machine's resolvers (/etc/resolv.conf) are asked about names outside the network";
  return new WarrenError("WARREN_NOT_READY", `${name} could not be resolved (${status})${why}.`);
}

function parseType(text: string): DigType {
  const type = TYPES.find((known) => known === text.toUpperCase());
  if (type) return type;
  throw new WarrenError(
    "WARREN_INVALID_INPUT",
    `"${text}" is no type of record that can be asked for: use ${TYPES.join(", ")}.`,
    {
      path: "type",
    },
  );
}
