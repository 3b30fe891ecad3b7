/** Records in the form in which they stand in an answer, made once and copied from then on. dns-packet writes them. */
import * as dnsPacket from "dns-packet";
import ipaddr from "ipaddr.js";

export const TYPE = {
  A: 1,
  NS: 2,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
} as const;

/** Seconds that an answer, or the fact that there is none, may be kept: instances come, go and fail. */
export const TTL = 5;

/** All records of one type that a name has. */
export interface RecordSet {
  /** The records one after the other; each begins with two bytes in which its owner is put: a pointer (RFC 1035 section 4.1.4). */
  readonly bytes: Uint8Array;
  /** Where each begins, and the end of the last. */
  readonly starts: readonly number[];
  /** True: another one is first each time, since askers take the first; all are of one length. */
  readonly turns: boolean;
  /** What the asker will ask for next, under names of its own; left out where there is no room. */
  readonly additional?: { readonly bytes: Uint8Array; readonly count: number };
}

/** What a name has, by type. A set is made when it is first asked for: most names are asked for one type only. */
export class Records {
  private readonly sets: Map<number, RecordSet | (() => RecordSet)>;

  constructor(entries: readonly Entry[]) {
    this.sets = new Map(entries);
  }

  get(type: number): RecordSet | undefined {
    const set = this.sets.get(type);
    if (typeof set !== "function") return set;
    const made = set();
    this.sets.set(type, made);
    return made;
  }

  /** Of one type; undefined: it has nothing. */
  any(): RecordSet | undefined {
    const [type] = this.sets.keys();
    return type === undefined ? undefined : this.get(type);
  }
}

export type Entry = readonly [type: number, set: RecordSet | (() => RecordSet)];

type Data = Pick<dnsPacket.Answer, "type"> & { readonly data: unknown };

const HEADER_BYTES = 12;
/** A pointer to the question's name, which follows the header. */
const QUESTION_NAME = 0xc000 | HEADER_BYTES;
/** Of a record whose owner is the root: owner, type, class and TTL come before the length of its data. */
const LENGTH_AT = 9;
/** RFC 1035 section 3.3: bytes of one string. */
const STRING_BYTES = 255;

export function recordSet(data: readonly Data[], turns = false): RecordSet {
  const encoded = encode(data.map((one) => ({ ...one, name: "." })));
  const starts: number[] = [];
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let at = 0; at < encoded.length; ) {
    const end = at + LENGTH_AT + 2 + encoded.readUInt16BE(at + LENGTH_AT);
    // The owner's one byte gives way to the two of a pointer.
    const record = Buffer.allocUnsafe(end - at + 1);
    record.writeUInt16BE(QUESTION_NAME, 0);
    encoded.copy(record, 2, at + 1, end);
    starts.push(length);
    parts.push(record);
    length += record.length;
    at = end;
  }
  return { bytes: Buffer.concat(parts), starts: [...starts, length], turns };
}

/** A and AAAA, in the given order. */
export function addressRecords(addresses: readonly string[], turns: boolean): Entry[] {
  const v4 = addresses.filter((address) => !address.includes(":"));
  const v6 = addresses.filter((address) => address.includes(":"));
  const entry = (type: number, of: readonly string[]): Entry[] =>
    of.length > 0 ? [[type, () => recordSet(of.map(address), turns)]] : [];
  return [...entry(TYPE.A, v4), ...entry(TYPE.AAAA, v6)];
}

export interface Service {
  /** A whole name. */
  readonly target: string;
  readonly port: number;
  readonly addresses: readonly string[];
}

/** RFC 2782; all alike, since health is in the choice of targets. Their addresses come along. */
export function serviceRecords(services: readonly Service[]): RecordSet {
  const set = recordSet(
    services.map(({ target, port }) => ({ type: "SRV", data: { priority: 1, weight: 1, port, target } })),
  );
  const along = services.flatMap(({ target, addresses }) => addresses.map((ip) => ({ ...address(ip), name: target })));
  return { ...set, additional: { bytes: encode(along), count: along.length } };
}

/** One record; a text that is too long for one string goes on in the next, as those who read it expect. */
export function textRecord(text: string): Entry {
  const bytes = Buffer.from(text, "latin1");
  const strings = Array.from({ length: Math.max(1, Math.ceil(bytes.length / STRING_BYTES)) }, (_, i) =>
    bytes.subarray(i * STRING_BYTES, (i + 1) * STRING_BYTES),
  );
  return [TYPE.TXT, recordSet([{ type: "TXT", data: strings }])];
}

export function nameRecord(type: "PTR" | "NS", name: string): Entry {
  return [TYPE[type], recordSet([{ type, data: name }])];
}

/** RFC 2308: its TTL and minimum say how long a "no" may be kept. */
export function startOfAuthority(domain: string, serial: number): RecordSet {
  const data = {
    mname: `_dns.${domain}`,
    rname: `hostmaster.${domain}`,
    serial: serial >>> 0,
    refresh: 60,
    retry: 60,
    expire: 600,
    minimum: TTL,
  };
  return recordSet([{ type: "SOA", data }]);
}

function address(ip: string): Data {
  return { type: ipaddr.IPv4.isValid(ip) ? "A" : "AAAA", data: ip };
}

function encode(records: readonly (Data & { readonly name: string })[]): Buffer {
  const answers = records.map((one) => ({ ...one, ttl: TTL, class: "IN" }) as dnsPacket.Answer);
  return dnsPacket.encode({ type: "response", answers }).subarray(HEADER_BYTES);
}
