/**
 * Fragments to datagrams (RFC 791 section 3.2, RFC 8200 section 4.5): within bounds of number, bytes and time; fragments that overlap
 * cost the whole datagram (RFC 5722), those that are repeated are ignored.
 */
import { addSum, checksum, putU16 } from "../dataplane/inet";
import { addressKey, sameBytes } from "./address";
import type { Drops } from "./drops";
import type { StackLimits } from "./options";
import type { IpPacket } from "./packet";

/** IPv6 does not count its own header. */
const MAX_PACKET = { 4: 65535, 6: 40 + 65535 } as const;
/** What a fragment costs beside its bytes, so that many tiny ones are not cheap. */
const FRAGMENT_COST = 256;
const MAX_FRAGMENTS = 512;

interface Fragment {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

interface Assembly {
  readonly key: string;
  readonly source: string;
  readonly expires: number;
  /** By `start`; disjoint. */
  readonly fragments: Fragment[];
  /** Bytes of payload that are there. */
  received: number;
  /** Length of the whole payload; -1 until the last fragment came. */
  total: number;
  /** Counted against the limit. */
  cost: number;
  /** The first fragment's headers, without the fragment header, and where their byte lies that names the protocol. */
  header: Uint8Array | undefined;
  protocolAt: number;
  protocol: number;
  /** The beginning of the first fragment, for the error when the rest does not come. */
  quote: Uint8Array | undefined;
  /** Fragments overlapped: what else comes of it is dropped, too. */
  spoilt: boolean;
}

export type TimeoutReport = (quote: Uint8Array) => void;

export class Reassembler {
  private readonly assemblies = new Map<string, Assembly>();
  private readonly perSource = new Map<string, number>();
  private bytes = 0;
  private out: Uint8Array | undefined;

  /** @param timedOut gets the first fragment of what was not completed in time */
  constructor(
    private readonly limits: StackLimits,
    private readonly drops: Drops,
    private readonly timedOut: TimeoutReport,
  ) {}

  /** Datagrams under reassembly, and what they cost in bytes. */
  get size(): { datagrams: number; bytes: number } {
    return { datagrams: this.assemblies.size, bytes: this.bytes };
  }

  /** The whole packet that `add` completed: valid until the next `add`. */
  get packet(): Uint8Array {
    return this.out ?? EMPTY;
  }

  /** @returns the length of the packet that this fragment completed, else 0 */
  add(packet: IpPacket, now: number): number {
    const { drops } = this;
    const { fragmentOffset: start, payload, moreFragments } = packet;
    const end = start + payload;
    const headers = packet.transport - packet.off - (packet.family === 6 ? 8 : 0);
    if (payload === 0 || (moreFragments && payload % 8 !== 0) || end + headers > MAX_PACKET[packet.family]) {
      drops["fragment-invalid"]++;
      return 0;
    }
    const assembly = this.find(packet, now);
    if (assembly.spoilt) {
      drops["fragment-overlap"]++;
      return 0;
    }
    const at = this.place(assembly, packet, start, end);
    if (at < 0) return 0;
    if (assembly.fragments.length >= MAX_FRAGMENTS || !this.pay(assembly, payload + FRAGMENT_COST)) {
      drops["fragment-limit"]++;
      this.remove(assembly);
      return 0;
    }
    const bytes = packet.buf.slice(packet.transport, packet.transport + payload);
    assembly.fragments.splice(at, 0, { start, end, bytes });
    assembly.received += payload;
    if (start === 0) this.keepHeader(assembly, packet);
    if (!moreFragments) assembly.total = end;
    return assembly.received === assembly.total && assembly.header !== undefined ? this.complete(assembly) : 0;
  }

  /** When `tick` is due. */
  nextTimer(): number {
    for (const assembly of this.assemblies.values()) return assembly.expires;
    return Number.POSITIVE_INFINITY;
  }

  tick(now: number): void {
    for (const assembly of this.assemblies.values()) {
      if (assembly.expires > now) return;
      this.remove(assembly);
      if (assembly.spoilt) continue;
      this.drops["fragment-timeout"] += assembly.fragments.length;
      if (assembly.quote !== undefined) this.timedOut(assembly.quote);
    }
  }

  private find(packet: IpPacket, now: number): Assembly {
    const { family, buf } = packet;
    const source = addressKey(buf, packet.source, family);
    // RFC 791 counts the protocol in; in IPv6 only the first fragment's counts.
    const which = family === 4 ? packet.identification * 256 + packet.protocol : packet.identification;
    const key = `${source}${addressKey(buf, packet.destination, family)}${which}`;
    const known = this.assemblies.get(key);
    if (known !== undefined) return known;
    const { reassemblies, reassembliesPerSource, reassemblyTime } = this.limits;
    if ((this.perSource.get(source) ?? 0) >= reassembliesPerSource) this.evict(source);
    if (this.assemblies.size >= reassemblies) this.evict();
    const assembly: Assembly = {
      key,
      source,
      expires: now + reassemblyTime,
      fragments: [],
      received: 0,
      total: -1,
      cost: 0,
      header: undefined,
      protocolAt: 0,
      protocol: 0,
      quote: undefined,
      spoilt: false,
    };
    this.assemblies.set(key, assembly);
    this.perSource.set(source, (this.perSource.get(source) ?? 0) + 1);
    return assembly;
  }

  /** Where among the fragments this one belongs; -1: nowhere, and that was counted. */
  private place(assembly: Assembly, packet: IpPacket, start: number, end: number): number {
    const { fragments, total } = assembly;
    let at = fragments.length;
    while (at > 0 && fragments[at - 1].start >= start) at--;
    const next = fragments[at];
    // A repetition (RFC 8200 section 4.5: exact duplicates may be told apart from overlaps).
    if (
      next?.start === start &&
      next.end === end &&
      sameBytes(next.bytes, 0, packet.buf, packet.transport, end - start)
    )
      return -1;
    const overlaps = (at > 0 && fragments[at - 1].end > start) || (next !== undefined && next.start < end);
    const beyond = total >= 0 && (end > total || !packet.moreFragments);
    const tail = fragments.at(-1);
    const short = !packet.moreFragments && tail !== undefined && tail.end > end;
    if (!overlaps && !beyond && !short) return at;
    this.drops["fragment-overlap"] += fragments.length + 1;
    assembly.spoilt = true;
    assembly.fragments.length = 0;
    assembly.header = undefined;
    assembly.quote = undefined;
    this.bytes -= assembly.cost;
    assembly.cost = 0;
    return -1;
  }

  private pay(assembly: Assembly, cost: number): boolean {
    while (this.bytes + cost > this.limits.reassemblyBytes) if (!this.evict(undefined, assembly)) return false;
    this.bytes += cost;
    assembly.cost += cost;
    return true;
  }

  private keepHeader(assembly: Assembly, packet: IpPacket): void {
    const { buf, off, family } = packet;
    assembly.header = buf.slice(off, family === 4 ? packet.transport : packet.fragmentHeader);
    assembly.protocolAt = packet.protocolAt - off;
    assembly.protocol = packet.protocol;
    assembly.quote = buf.slice(off, off + Math.min(packet.length, 1280));
  }

  /** Writes the packet as if it had never been in pieces. */
  private complete(assembly: Assembly): number {
    const { header, protocolAt, protocol, fragments, total } = assembly;
    this.remove(assembly);
    if (header === undefined || header.length + total > MAX_PACKET[header[0] >>> 4 === 4 ? 4 : 6]) {
      this.drops["fragment-invalid"] += fragments.length;
      return 0;
    }
    this.out ??= new Uint8Array(MAX_PACKET[6]);
    const { out } = this;
    const length = header.length + total;
    out.set(header);
    for (const { start, bytes } of fragments) out.set(bytes, header.length + start);
    out[protocolAt] = protocol;
    if (out[0] >>> 4 === 6) {
      putU16(out, 4, length - 40);
      return length;
    }
    putU16(out, 2, length);
    putU16(out, 6, 0);
    putU16(out, 10, 0);
    putU16(out, 10, checksum(addSum(0, out, 0, header.length)));
    return length;
  }

  private remove(assembly: Assembly): void {
    if (!this.assemblies.delete(assembly.key)) return;
    this.bytes -= assembly.cost;
    assembly.cost = 0;
    const left = (this.perSource.get(assembly.source) ?? 1) - 1;
    if (left === 0) this.perSource.delete(assembly.source);
    else this.perSource.set(assembly.source, left);
  }

  /** Gives up the oldest, of one source or of all. @returns false where there is none but `keep` */
  private evict(source?: string, keep?: Assembly): boolean {
    for (const assembly of this.assemblies.values()) {
      if (assembly === keep || (source !== undefined && assembly.source !== source)) continue;
      this.drops["fragment-limit"] += assembly.fragments.length;
      this.remove(assembly);
      return true;
    }
    return false;
  }
}

const EMPTY = new Uint8Array(0);
