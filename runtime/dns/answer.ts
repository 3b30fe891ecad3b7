/** The DNS answers of a network, as a function of the question and the names: authoritative for its own, the rest forwarded. */
import {
  CLASS,
  FLAG_RECURSION_DESIRED,
  isTruncated,
  OUR_UDP_BYTES,
  RCODE,
  type ReplyParts,
  readQuery,
  writeError,
  writeReply,
} from "./message";
import type { Distance, Names } from "./names";
import { TYPE } from "./records";

export type Outcome = OwnReply | { readonly forward: true };

export interface OwnReply {
  readonly reply: Uint8Array;
  /** Present: the same question may have this answer until names or health change. */
  readonly keep?: Keep;
}

export interface Keep {
  /** Records of which another one is first each time: where they begin, the bytes of each, and how many there are. */
  readonly turn?: { readonly at: number; readonly size: number; readonly count: number };
}

export interface Asker {
  /** Bytes of the largest message that reaches it. @default 1232 */
  readonly maxReply?: number;
  /** True: the connection takes any length, whatever EDNS says. @default false */
  readonly stream?: boolean;
  /** From the asker's host to others. @default all are equally far */
  readonly distance?: Distance;
}

/** RFC 6895 section 3.1: types that ask for something else than records, beside ANY. */
const META_TYPES = { first: 128, last: 254 };
/** RFC 6891 section 6.1.3. */
const BADVERS = 16;
const FORWARD: Outcome = { forward: true };
const equallyFar: Distance = () => 0;

/** @returns undefined where silence is right: what came is no query. */
export function answer(message: Uint8Array, names: Names, asker: Asker = {}): Outcome | undefined {
  const reading = readQuery(message);
  if (reading.kind === "ignore") return undefined;
  if (reading.kind === "bad") return { reply: writeError(message, reading.rcode) };
  const { query } = reading;
  const { key, type } = query;
  const maxReply = asker.maxReply ?? OUR_UDP_BYTES;
  const limit = asker.stream ? maxReply : Math.min(query.limit, maxReply);
  const reply = (parts: ReplyParts): Outcome => ({ reply: writeReply(message, query, parts, limit) });

  if (query.edns !== undefined && query.edns.version !== 0) return reply({ rcode: BADVERS });
  if (type === TYPE.OPT) return reply({ rcode: RCODE.FORMERR });
  if (query.class !== CLASS.IN && query.class !== CLASS.ANY) return reply({ rcode: RCODE.REFUSED });
  if (type >= META_TYPES.first && type <= META_TYPES.last) return reply({ rcode: RCODE.REFUSED });

  const found = names.find(key, asker.distance ?? equallyFar);
  if (found === undefined) {
    if (!(query.flags & FLAG_RECURSION_DESIRED)) return reply({ rcode: RCODE.REFUSED });
    // Others need not hear of what a search list makes of our names, nor can they know it.
    if (names.isOursInDomain(key)) return reply({ rcode: RCODE.NXDOMAIN });
    return FORWARD;
  }
  const { records, apex, varies } = found;
  const soa = { records: names.soa, labels: apex };
  if (records === undefined) return reply({ rcode: RCODE.NXDOMAIN, authoritative: true, soa });
  // RFC 8482 section 4.1: of ANY, one type is answer enough.
  const answers = type === TYPE.ANY ? records.any() : records.get(type);
  const written =
    answers === undefined
      ? writeReply(message, query, { rcode: RCODE.NOERROR, authoritative: true, soa }, limit)
      : writeReply(message, query, { rcode: RCODE.NOERROR, authoritative: true, answers, turn: query.id }, limit);
  // Part of an answer is another part each time.
  if (varies || isTruncated(written)) return { reply: written };
  const count = answers?.turns ? answers.starts.length - 1 : 0;
  const turn = count > 1 ? { at: query.end, size: answers!.starts[1]!, count } : undefined;
  return { reply: written, keep: turn ? { turn } : {} };
}
