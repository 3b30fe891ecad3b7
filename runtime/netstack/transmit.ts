/** The way out: IP headers, checksums, fragments (RFC 791, RFC 8200 section 4.5), and the short way to our own addresses. */
import { addSum, checksum, PROTO_TCP, putU16, writeHeader } from "../dataplane/inet";
import type { Drops } from "./drops";
import type { SumBytes } from "./options";
import { PROTO_FRAGMENT } from "./packet";
import type { PathMtus } from "./path-mtu";
import type { TcpOutput, TcpPath } from "./tcp/types";

const MAX_PACKET = 65535;
/** The longest IP header that is written, fragment header included, with some to spare. */
const HEADROOM = 64;
const TCP_CHECKSUM = 16;
const DONT_FRAGMENT = 0x4000;

export interface TransmitterOptions {
  readonly output: (buf: Uint8Array, off: number, len: number, segment: number) => boolean;
  readonly sum: SumBytes;
  readonly random: (bytes: number) => Uint8Array;
  readonly paths: PathMtus;
  readonly counters: { tx: number; readonly drops: Drops };
  /** Is it an address of ours? */
  readonly owns: (address: Uint8Array) => boolean;
}

/** What a TCP connection's packets have in common. */
interface PathHeader {
  readonly bytes: Uint8Array;
  /** Sums of the IPv4 header without length, and of the pseudo header without length. */
  readonly ipSum: number;
  readonly pseudoSum: number;
}

export class Transmitter implements TcpOutput {
  readonly buf = new Uint8Array(HEADROOM + MAX_PACKET + HEADROOM);
  /** Where a payload begins that `commit` or `send` shall send. */
  readonly off = HEADROOM;
  private readonly secret: Uint8Array;
  /** Next identification, by a hash of the destination (RFC 7739 section 5.3). */
  private readonly identifications: Uint32Array;

  /** @param room see TcpOutput */
  constructor(
    private readonly options: TransmitterOptions,
    public room: number,
  ) {
    this.secret = options.random(4);
    const seeds = options.random(1024);
    this.identifications = new Uint32Array(seeds.buffer.slice(seeds.byteOffset, seeds.byteOffset + 1024));
  }

  commit(path: TcpPath, len: number, segment: number): boolean {
    const { buf, off } = this;
    path.cache ??= pathHeader(path);
    const header = path.cache as PathHeader;
    const size = header.bytes.length;
    const at = off - size;
    buf.set(header.bytes, at);
    if (size === 20) {
      putU16(buf, at + 2, size + len);
      putU16(buf, at + 10, checksum(header.ipSum + size + len));
    } else putU16(buf, at + 4, len);
    const pseudo = header.pseudoSum + len;
    putU16(buf, off + TCP_CHECKSUM, 0);
    const value = segment > 0 ? ~checksum(pseudo) & 0xffff : checksum(this.options.sum(pseudo, buf, off, len));
    putU16(buf, off + TCP_CHECKSUM, value);
    if (!this.options.output(buf, at, size + len, segment)) return false;
    this.options.counters.tx++;
    return true;
  }

  /**
   * Sends the `len` bytes at `off`, in fragments where the path takes no more.
   * @returns false where the link was full: it, or the rest of it, is lost, and counted
   */
  send(source: Uint8Array, destination: Uint8Array, protocol: number, len: number): boolean {
    const { options } = this;
    const header = source.length === 4 ? 20 : 40;
    const mtu = options.owns(destination) ? MAX_PACKET : options.paths.get(destination);
    const sent =
      header + len <= mtu
        ? this.whole(source, destination, protocol, len)
        : header === 20
          ? this.fragments4(source, destination, protocol, len, mtu)
          : this.fragments6(source, destination, protocol, len, mtu);
    if (!sent) options.counters.drops["output-full"]++;
    return sent;
  }

  private whole(source: Uint8Array, destination: Uint8Array, protocol: number, len: number): boolean {
    const { buf, off } = this;
    const size = source.length === 4 ? 20 : 40;
    const identification = size === 20 ? this.identify(destination) : 0;
    writeHeader(buf, off - size, source, destination, protocol, len, identification);
    return this.emit(off - size, size + len);
  }

  /** Each header is written over the end of the fragment before it, which has left. */
  private fragments4(source: Uint8Array, destination: Uint8Array, protocol: number, len: number, mtu: number): boolean {
    const { buf, off } = this;
    const share = (mtu - 20) & ~7;
    const identification = this.identify(destination);
    for (let done = 0; done < len; done += share) {
      const size = Math.min(share, len - done);
      const field = (done >>> 3) | (done + size < len ? 0x2000 : 0);
      writeHeader(buf, off + done - 20, source, destination, protocol, size, identification, field);
      if (!this.emit(off + done - 20, 20 + size)) return false;
    }
    return true;
  }

  private fragments6(source: Uint8Array, destination: Uint8Array, protocol: number, len: number, mtu: number): boolean {
    const { buf, off } = this;
    const share = (mtu - 48) & ~7;
    const identification = this.identify(destination);
    for (let done = 0; done < len; done += share) {
      const size = Math.min(share, len - done);
      const at = off + done - 48;
      writeHeader(buf, at, source, destination, PROTO_FRAGMENT, 8 + size);
      buf[at + 40] = protocol;
      buf[at + 41] = 0;
      putU16(buf, at + 42, done | (done + size < len ? 1 : 0));
      putU16(buf, at + 44, identification >>> 16);
      putU16(buf, at + 46, identification & 0xffff);
      if (!this.emit(at, 48 + size)) return false;
    }
    return true;
  }

  private emit(at: number, len: number): boolean {
    if (!this.options.output(this.buf, at, len, 0)) return false;
    this.options.counters.tx++;
    return true;
  }

  private identify(destination: Uint8Array): number {
    let hash = this.secret[0] | (this.secret[1] << 8) | (this.secret[2] << 16) | (this.secret[3] << 24);
    for (let i = 0; i < destination.length; i++) hash = Math.imul(hash ^ destination[i], 0x01000193);
    return this.identifications[(hash >>> 16) & 255]++;
  }
}

function pathHeader({ local, remote }: TcpPath): PathHeader {
  const v4 = local.length === 4;
  const bytes = new Uint8Array(v4 ? 20 : 40);
  writeHeader(bytes, 0, local, remote, PROTO_TCP, 0, 0, DONT_FRAGMENT);
  if (v4) {
    putU16(bytes, 2, 0);
    putU16(bytes, 10, 0);
  }
  const pseudoSum = addSum(addSum(PROTO_TCP, local, 0, local.length), remote, 0, remote.length);
  return { bytes, ipSum: v4 ? addSum(0, bytes, 0, 20) : 0, pseudoSum };
}
