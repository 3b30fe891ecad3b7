/**
 * The data plane's system calls on one memory with a fixed address: TUN devices, UDP sockets, poll, eventfd.
 * Structures are laid out by hand for 64-bit little-endian Linux. Every call takes offsets into that memory and checks them
 * first, answers with a negative errno on failure, and allocates nothing.
 */
import * as os from "node:os";
import { type ForeignCall, foreign } from "./foreign";
import { FIRST_FREE_OFFSET, NativeMemory } from "./native-memory";
import { IFF_NO_PI, IFF_TUN, IFF_VNET_HDR, inNamespace, openTun } from "./tun-open";

export const POLLIN = 1;
export const POLLOUT = 4;

/** struct sockaddr_in6, the larger of the two. */
export const SOCKADDR_BYTES = 28;
/** Where its sin6_scope_id lies. */
export const SCOPE_AT = 24;
/** struct virtio_net_hdr: before each packet of a device opened with IFF_VNET_HDR. */
export const VNET_HEADER_BYTES = 10;
/** Pieces that one `writev` takes. */
export const MAX_PIECES = 128;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const NONBLOCK = 0o4000;
const CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const TUNGETIFF = 0x800454d2;
const TUNSETOFFLOAD = 0x400454d0;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
/** Linux 6.2 and later. */
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_MARK = 36;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
const IP_PKTINFO = 8;
const IP_MTU_DISCOVER = 10;
const IPV6_MTU_DISCOVER = 23;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
const MSG_TRUNC = 0x20;
/** struct cmsghdr. */
const CMSG_HEADER = 16;
/** struct in_pktinfo and in6_pktinfo. */
const PKTINFO_BYTES = 12;
const PKTINFO6_BYTES = 20;
/** Bytes asked for on each side of a UDP socket, as wireguard-go does. */
const SOCKET_BUFFER_BYTES = 7 << 20;

const PAGE = 65536;
/** Layout of the first page: structures that live for one call each. */
const RECV_MSG = 0;
const RECV_IOV = 64;
const RECV_NAME = 128;
const SEND_MSG = 192;
const SEND_IOV = 256;
const SEND_NAME = 320;
const SCRATCH = 384;
const SEND_CONTROL = 448;
const RECV_CONTROL = 512;
/** UDP_GRO and the larger of the two pktinfo. */
const RECV_CONTROL_BYTES = 24 + 40;
/** Behind the control message of UDP_SEGMENT. */
const SEND_PKTINFO = SEND_CONTROL + CMSG_HEADER + 8;
const PIECES = 1024;
const POLL_FDS = PIECES + MAX_PIECES * 16;
export const MAX_POLL_FDS = (PAGE - POLL_FDS) / 8;
type Calls = ReturnType<typeof bindCalls>;

/**
 * An IPv4 or IPv6 socket address as the kernel wants it; the length is 16 or 28.
 * @param scope number of the device by which an IPv6 address is reached; 0: as the routes say
 */
export function encodeSockaddr(address: Uint8Array, port: number, scope = 0): Uint8Array {
  const v4 = address.length === 4;
  const out = new Uint8Array(v4 ? 16 : SOCKADDR_BYTES);
  out[0] = v4 ? AF_INET : AF_INET6;
  out[2] = port >> 8;
  out[3] = port & 0xff;
  out.set(address, v4 ? 4 : 8);
  if (!v4) new DataView(out.buffer).setUint32(SCOPE_AT, scope, true);
  return out;
}

export interface TunDevice {
  /** Bytes that precede each packet: 0 or VNET_HEADER_BYTES. */
  readonly header: number;
  /** Its kernel takes several UDP datagrams as one packet. */
  readonly udpSegments: boolean;
}

export class PacketIo {
  readonly native: NativeMemory;
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly base: number;
  private readonly call: Calls;
  private readonly lastErrno: () => number;
  private sendName: Uint8Array | undefined;
  private sendLocal: Uint8Array | undefined;

  /** @param pages size of the memory in 64 KiB pages; the first one is used here. */
  constructor(pages: number) {
    const native = new NativeMemory(pages);
    const { base } = native;
    this.native = native;
    this.bytes = native.bytes;
    this.view = native.view;
    this.base = base;
    const library = foreign();
    this.lastErrno = () => library.errno();
    this.call = bindCalls();
    this.pointer(RECV_MSG, base + RECV_NAME);
    this.pointer(RECV_MSG + 16, base + RECV_IOV);
    this.pointer(RECV_MSG + 24, 1);
    this.pointer(SEND_MSG, base + SEND_NAME);
    this.pointer(SEND_MSG + 16, base + SEND_IOV);
    this.pointer(SEND_MSG + 24, 1);
    this.pointer(SEND_CONTROL, CMSG_HEADER + 2);
    this.view.setInt32(SEND_CONTROL + 8, SOL_UDP, true);
    this.view.setInt32(SEND_CONTROL + 12, UDP_SEGMENT, true);
  }

  private pointer(off: number, value: number): void {
    this.native.setPointer(off, value);
  }

  private check(off: number, len: number): void {
    if (!(off >= FIRST_FREE_OFFSET && len >= 0 && off + len <= this.bytes.length))
      throw new RangeError(`packet buffer ${off}+${len} lies outside the data plane's memory`);
  }

  private result(value: number): number {
    return value < 0 ? -this.lastErrno() : Number(value);
  }

  /** Reads one packet. */
  read(fd: number, off: number, len: number): number {
    this.check(off, len);
    return this.result(this.call.read(fd, this.base + off, len));
  }

  write(fd: number, off: number, len: number): number {
    this.check(off, len);
    return this.result(this.call.write(fd, this.base + off, len));
  }

  /** Names piece `index` of the next `writev`. */
  setPiece(index: number, off: number, len: number): void {
    this.check(off, len);
    if (!(index >= 0 && index < MAX_PIECES)) throw new RangeError(`piece ${index}`);
    this.pointer(PIECES + index * 16, this.base + off);
    this.view.setUint32(PIECES + index * 16 + 8, len, true);
  }

  /** Writes the first `count` pieces as one packet. */
  writePieces(fd: number, count: number): number {
    if (!(count >= 0 && count <= MAX_PIECES)) throw new RangeError(`${count} pieces`);
    return this.result(this.call.writev(fd, this.base + PIECES, count));
  }

  close(fd: number): number {
    return this.result(this.call.close(fd));
  }

  /**
   * Makes or attaches to a TUN device in the calling thread's network namespace.
   * @param netns path of another namespace to do that in; the thread returns to its own.
   * @param vnetHeader each packet follows a virtio header.
   */
  openTun(name: string, netns: string | undefined, vnetHeader: boolean): number {
    if (netns === undefined) return openTun(name, vnetHeader);
    return inNamespace(netns, () => openTun(name, vnetHeader));
  }

  /**
   * Sets a TUN device non-blocking. With virtio headers its kernel hands over packets of up to 64 KiB without checksums from now on.
   * @returns what it is, or a negative errno
   */
  prepareTun(fd: number): TunDevice | number {
    this.bytes.fill(0, SCRATCH, SCRATCH + 40);
    const got = this.result(this.call.ioctl(fd, TUNGETIFF, this.base + SCRATCH));
    if (got < 0) return got;
    const flags = this.view.getUint16(SCRATCH + 16, true);
    if ((flags & IFF_TUN) === 0 || (flags & IFF_NO_PI) === 0) return -os.constants.errno.EINVAL;
    const modes = this.result(this.call.fcntl(fd, F_GETFL, 0));
    if (modes < 0) return modes;
    const set = this.result(this.call.fcntl(fd, F_SETFL, modes | NONBLOCK));
    if (set < 0) return set;
    if ((flags & IFF_VNET_HDR) === 0) return { header: 0, udpSegments: false };
    const tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    // What an earlier owner of the device asked for lasts until it is changed: the last resort is none.
    let offload = this.result(this.call.ioctl(fd, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6));
    const udpSegments = offload >= 0;
    for (const features of [tcp, 0])
      if (offload < 0) offload = this.result(this.call.ioctl(fd, TUNSETOFFLOAD, features));
    return offload < 0 ? offload : { header: VNET_HEADER_BYTES, udpSegments };
  }

  /** Another descriptor of the same open file. */
  duplicate(fd: number): number {
    return this.result(this.call.fcntl(fd, F_DUPFD_CLOEXEC, 3));
  }

  /** SO_MARK of what the socket sends from now on. */
  setMark(fd: number, mark: number): number {
    return this.option(fd, SOL_SOCKET, SO_MARK, mark | 0);
  }

  /** A bound, non-blocking UDP socket whose datagrams the network may fragment. Port 0: any. On all addresses it tells which one was written to. */
  openUdp(address: Uint8Array, port: number): number {
    const v4 = address.length === 4;
    const fd = this.result(this.call.socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | NONBLOCK | CLOEXEC, 0));
    if (fd < 0) return fd;
    for (const [force, plain] of [
      [SO_RCVBUFFORCE, SO_RCVBUF],
      [SO_SNDBUFFORCE, SO_SNDBUF],
    ])
      if (this.option(fd, SOL_SOCKET, force, SOCKET_BUFFER_BYTES) < 0)
        this.option(fd, SOL_SOCKET, plain, SOCKET_BUFFER_BYTES);
    // An older kernel refuses it and hands over datagrams one by one.
    this.option(fd, SOL_UDP, UDP_GRO, 1);
    if (address.every((byte) => byte === 0))
      if (v4) this.option(fd, IPPROTO_IP, IP_PKTINFO, 1);
      else this.option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    if (v4) this.option(fd, IPPROTO_IP, IP_MTU_DISCOVER, 0);
    else {
      this.option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
      this.option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, 0);
    }
    const sockaddr = encodeSockaddr(address, port);
    this.bytes.set(sockaddr, SCRATCH);
    const bound = this.result(this.call.bind(fd, this.base + SCRATCH, sockaddr.length));
    if (bound < 0) {
      this.close(fd);
      return bound;
    }
    return fd;
  }

  private option(fd: number, level: number, name: number, value: number): number {
    this.view.setInt32(SCRATCH, value, true);
    return this.result(this.call.setsockopt(fd, level, name, this.base + SCRATCH, 4));
  }

  /** The UDP port that a socket is bound to. */
  localPort(fd: number): number {
    this.view.setUint32(SCRATCH, SOCKADDR_BYTES, true);
    const got = this.result(this.call.getsockname(fd, this.base + SCRATCH + 8, this.base + SCRATCH));
    return got < 0 ? got : this.view.getUint16(SCRATCH + 10);
  }

  /**
   * Receives one datagram, or several of one sender that have the same length (the last may be shorter): then `segment` tells that
   * length. Their source is at `sourceOffset`.
   */
  receive(fd: number, off: number, len: number): number {
    this.check(off, len);
    this.view.setUint32(RECV_MSG + 8, SOCKADDR_BYTES, true);
    this.pointer(RECV_MSG + 32, this.base + RECV_CONTROL);
    this.pointer(RECV_MSG + 40, RECV_CONTROL_BYTES);
    this.pointer(RECV_IOV, this.base + off);
    this.view.setUint32(RECV_IOV + 8, len, true);
    const got = this.result(this.call.recvmsg(fd, this.base + RECV_MSG, MSG_DONTWAIT));
    this.segment = got;
    this.localLength = 0;
    if (got < 0) return got;
    this.truncated = (this.view.getInt32(RECV_MSG + 48, true) & MSG_TRUNC) !== 0;
    this.readControl(Math.min(this.view.getUint32(RECV_MSG + 40, true), RECV_CONTROL_BYTES), got);
    return got;
  }

  /** What came with the datagrams, in whatever order. */
  private readControl(bytes: number, got: number): void {
    const { view } = this;
    for (let at = RECV_CONTROL; at + CMSG_HEADER + 4 <= RECV_CONTROL + bytes; ) {
      const length = view.getUint32(at, true);
      if (length < CMSG_HEADER + 4) return;
      const level = view.getInt32(at + 8, true);
      const type = view.getInt32(at + 12, true);
      if (level === SOL_UDP && type === UDP_GRO) {
        const segment = view.getInt32(at + CMSG_HEADER, true);
        if (segment > 0 && segment < got) this.segment = segment;
      } else if ((level === IPPROTO_IP && type === IP_PKTINFO) || (level === IPPROTO_IPV6 && type === IPV6_PKTINFO)) {
        this.localOffset = at + CMSG_HEADER;
        this.localLength = length - CMSG_HEADER;
      }
      at += (length + 7) & ~7;
    }
  }

  /** Bytes of each datagram that the last `receive` gave. */
  segment = 0;
  /** True where the last `receive` had more than fitted. */
  truncated = false;

  /** Where `receive` leaves the address that was written to, as a struct in_pktinfo or in6_pktinfo; length 0: it did not come. */
  localOffset = 0;
  localLength = 0;

  /** Where `receive` leaves the sender's sockaddr, in `bytes`. */
  readonly sourceOffset = RECV_NAME;

  /**
   * Sends one datagram, or with `segment` below `len` several of that length in one call.
   * @param sockaddr from `encodeSockaddr`; the same array again is not copied again, so it must not be changed.
   * @param local what `receive` left at `localOffset`: the address and the device to send from; likewise.
   */
  send(fd: number, off: number, len: number, sockaddr: Uint8Array, segment = len, local?: Uint8Array): number {
    this.check(off, len);
    if (sockaddr !== this.sendName) {
      if (sockaddr.length !== 16 && sockaddr.length !== SOCKADDR_BYTES)
        throw new RangeError(`${sockaddr.length} bytes are no socket address`);
      this.bytes.set(sockaddr, SEND_NAME);
      this.view.setUint32(SEND_MSG + 8, sockaddr.length, true);
      this.sendName = sockaddr;
    }
    this.pointer(SEND_IOV, this.base + off);
    this.view.setUint32(SEND_IOV + 8, len, true);
    let control = SEND_PKTINFO;
    let end = SEND_PKTINFO;
    if (local !== undefined) {
      if (local !== this.sendLocal) this.placeLocal(local);
      // CMSG_SPACE.
      end += CMSG_HEADER + ((local.length + 7) & ~7);
    }
    if (segment < len) {
      this.view.setUint16(SEND_CONTROL + CMSG_HEADER, segment, true);
      control = SEND_CONTROL;
    }
    this.pointer(SEND_MSG + 32, this.base + control);
    this.pointer(SEND_MSG + 40, end - control);
    return this.result(this.call.sendmsg(fd, this.base + SEND_MSG, MSG_DONTWAIT));
  }

  private placeLocal(local: Uint8Array): void {
    const v4 = local.length === PKTINFO_BYTES;
    if (!v4 && local.length !== PKTINFO6_BYTES) throw new RangeError(`${local.length} bytes are no pktinfo`);
    this.pointer(SEND_PKTINFO, CMSG_HEADER + local.length);
    this.view.setInt32(SEND_PKTINFO + 8, v4 ? IPPROTO_IP : IPPROTO_IPV6, true);
    this.view.setInt32(SEND_PKTINFO + 12, v4 ? IP_PKTINFO : IPV6_PKTINFO, true);
    this.bytes.set(local, SEND_PKTINFO + CMSG_HEADER);
    this.sendLocal = local;
  }

  /** Sets entry `index` of the list that `poll` looks at. */
  setPoll(index: number, fd: number, events: number): void {
    if (!(index >= 0 && index < MAX_POLL_FDS)) throw new RangeError(`poll entry ${index}`);
    this.view.setInt32(POLL_FDS + index * 8, fd, true);
    this.view.setInt16(POLL_FDS + index * 8 + 4, events, true);
    this.view.setInt16(POLL_FDS + index * 8 + 6, 0, true);
  }

  /** What the last `poll` found for entry `index`; 0: nothing. */
  polled(index: number): number {
    return this.view.getInt16(POLL_FDS + index * 8 + 6, true);
  }

  /** Waits until an entry is ready or the time is over. @param timeout milliseconds */
  poll(count: number, timeout: number): number {
    if (!(count >= 0 && count <= MAX_POLL_FDS)) throw new RangeError(`poll of ${count} descriptors`);
    return this.result(this.call.poll(this.base + POLL_FDS, count, timeout));
  }

  /** Waits until a socket takes data again. Uses no entry of the list. @param timeout milliseconds */
  waitWritable(fd: number, timeout: number): number {
    this.view.setInt32(SCRATCH, fd, true);
    this.view.setInt32(SCRATCH + 4, POLLOUT, true);
    return this.result(this.call.poll(this.base + SCRATCH, 1, timeout));
  }

  /** A counter that another thread can make readable to wake a `poll`. */
  eventfd(): number {
    return this.result(this.call.eventfd(0, NONBLOCK | CLOEXEC));
  }

  /** Wakes who polls the eventfd. */
  signal(fd: number): number {
    this.pointer(SCRATCH, 1);
    return this.result(this.call.write(fd, this.base + SCRATCH, 8));
  }

  /** Resets the eventfd. */
  drain(fd: number): number {
    return this.result(this.call.read(fd, this.base + SCRATCH, 8));
  }
}

function bindCalls() {
  const P = "uint64_t";
  const f = (...[name, result, args]: Parameters<ReturnType<typeof foreign>["bind"]>): ForeignCall =>
    foreign().bind(name, result, args);
  return {
    close: f("close", "int", ["int"]),
    read: f("read", "int64_t", ["int", P, "uint64_t"]),
    write: f("write", "int64_t", ["int", P, "uint64_t"]),
    writev: f("writev", "int64_t", ["int", P, "int"]),
    ioctl: f("ioctl", "int", ["int", "uint64_t", P]),
    fcntl: f("fcntl", "int", ["int", "int", "int64_t"]),
    socket: f("socket", "int", ["int", "int", "int"]),
    bind: f("bind", "int", ["int", P, "uint32_t"]),
    getsockname: f("getsockname", "int", ["int", P, P]),
    setsockopt: f("setsockopt", "int", ["int", "int", "int", P, "uint32_t"]),
    sendmsg: f("sendmsg", "int64_t", ["int", P, "int"]),
    recvmsg: f("recvmsg", "int64_t", ["int", P, "int"]),
    poll: f("poll", "int", [P, "uint64_t", "int"]),
    eventfd: f("eventfd", "int", ["uint32_t", "int"]),
  };
}
