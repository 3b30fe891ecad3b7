/**
 * The system calls that Node has no interface for, as the keeper needs them. Every length is checked here, before native code sees it; a call that fails throws an Error with `code` (`EPERM`), `errno` and `syscall`.
 * The constants are those of Linux on 64-bit little-endian machines; elsewhere `libc()` throws.
 */
import * as net from "node:net";
import * as os from "node:os";
import * as ipaddr from "ipaddr.js";
import { type CType, type Foreign, foreign } from "./foreign";
import { INTERFACE_NAME_BYTES, interfaceRequest, openTun } from "./tun-open";

export const AF_UNSPEC = 0;
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
export const NETLINK_ROUTE = 0;
export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_PATH = 0o10000000;
export const MS_RDONLY = 1;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 0x20;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MNT_DETACH = 2;
export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 16;
export const SHUT_WR = 1;

const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const O_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_CTRUNC = 8;
const IPPROTO_TCP = 6;
const TCP_REPAIR = 19;
const TCP_REPAIR_ON = 1;
const TCP_REPAIR_OFF_NO_WINDOW_PROBE = -1;
const LOCK_EX_NB = 2 | 4;
const SIOCGIFINDEX = 0x8933;
/** Enough for what a set-up process sends. */
const MAX_DESCRIPTORS = 16;
const EINTR = os.constants.errno.EINTR;

/** An error of a system call, shaped like Node's own. */
export function systemError(syscall: string, errno: number, subject = ""): NodeJS.ErrnoException {
  const code = Object.entries(os.constants.errno).find(([, value]) => value === errno)?.[0] ?? `E${errno}`;
  const error: NodeJS.ErrnoException = new Error(`${code}: ${syscall}${subject ? ` ${subject}` : ""}`);
  error.code = code;
  error.errno = errno;
  error.syscall = syscall;
  return error;
}

/** Bytes outside the V8 heap: their address stays. */
function fixed(bytes: number): { buffer: Buffer; memory: ArrayBuffer } {
  const memory = new ArrayBuffer(bytes);
  return { buffer: Buffer.from(memory), memory };
}

/** struct sockaddr_in or sockaddr_in6. */
export function inetAddress(address: string, port: number): Buffer {
  const bytes = ipaddr.parse(address).toByteArray();
  const out = Buffer.alloc(bytes.length === 4 ? 16 : 28);
  out.writeUInt16LE(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  out.writeUInt16BE(port, 2);
  out.set(bytes, bytes.length === 4 ? 4 : 8);
  return out;
}

/** struct sockaddr_un. @throws RangeError for a path longer than sun_path. */
export function unixAddress(path: string): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length > 107 || bytes.includes(0)) throw new RangeError(`${path} is no socket path (at most 107 bytes)`);
  const out = Buffer.alloc(2 + bytes.length + 1);
  out.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(out, 2);
  return out;
}

function createLibc(native: Foreign) {
  const bind = (name: string, args: readonly CType[], result: CType = "int") =>
    native.bind<unknown>(name, result, args);
  const calls = {
    open: bind("open", ["str", "int", "int"]),
    close: bind("close", ["int"]),
    ioctl: bind("ioctl", ["int", "unsigned long", "void *"]),
    mount: bind("mount", ["str", "str", "str", "unsigned long", "str"]),
    umount2: bind("umount2", ["str", "int"]),
    socketpair: bind("socketpair", ["int", "int", "int", "void *"]),
    socket: bind("socket", ["int", "int", "int"]),
    connect: bind("connect", ["int", "void *", "unsigned int"]),
    shutdown: bind("shutdown", ["int", "int"]),
    getsockopt: bind("getsockopt", ["int", "int", "int", "void *", "void *"]),
    setsockopt: bind("setsockopt", ["int", "int", "int", "void *", "unsigned int"]),
    sendmsg: bind("sendmsg", ["int", "void *", "int"], "long"),
    recvmsg: bind("recvmsg", ["int", "void *", "int"], "long"),
    send: bind("send", ["int", "void *", "size_t", "int"], "long"),
    recv: bind("recv", ["int", "void *", "size_t", "int"], "long"),
    poll: bind("poll", ["void *", "unsigned long", "int"]),
    pipe2: bind("pipe2", ["void *", "int"]),
    flock: bind("flock", ["int", "int"]),
  };

  /** Calls again after a signal; -1 becomes an error. */
  function checked(name: keyof typeof calls, subject: string, ...args: unknown[]): number {
    for (;;) {
      const result = calls[name](...args);
      if (result >= 0) return result;
      const errno = native.errno();
      if (errno !== EINTR) throw systemError(name, errno, subject);
    }
  }

  /** What the last message refers to by address alone: held here, it outlives the call. */
  const referred: { by: readonly ArrayBuffer[] } = { by: [] };

  /** struct msghdr with one iovec over a copy of `data`, and `controlBytes` of control space; good until the next one. */
  function message(data: Buffer, controlBytes: number) {
    const payload = fixed(Math.max(1, data.length));
    data.copy(payload.buffer);
    const control = fixed(Math.max(8, controlBytes));
    const iov = fixed(16);
    referred.by = [payload.memory, control.memory, iov.memory];
    const address = (memory: ArrayBuffer) => BigInt(native.addressOf(memory));
    iov.buffer.writeBigUInt64LE(address(payload.memory), 0);
    iov.buffer.writeBigUInt64LE(BigInt(data.length), 8);
    const header = fixed(56);
    header.buffer.writeBigUInt64LE(address(iov.memory), 16);
    header.buffer.writeBigUInt64LE(1n, 24);
    if (controlBytes > 0) {
      header.buffer.writeBigUInt64LE(address(control.memory), 32);
      header.buffer.writeBigUInt64LE(BigInt(controlBytes), 40);
    }
    return { header: header.buffer, payload: payload.buffer, control: control.buffer };
  }

  return {
    open(path: string, flags: number): number {
      return checked("open", path, path, flags | O_CLOEXEC, 0);
    },

    /** Closing twice or a bad number is a mistake of the caller and throws. */
    close(fd: number): void {
      if (calls.close(fd) < 0) {
        const errno = native.errno();
        // Linux frees the descriptor even where the call was interrupted.
        if (errno !== EINTR) throw systemError("close", errno, String(fd));
      }
    },

    /** Opens a non-blocking TUN device (no packet information header) in the network namespace of this process. */
    openTun(name: string, vnetHeader: boolean): number {
      if (interfaceRequest(name) === undefined) throw new RangeError(`${name} is no interface name`);
      const fd = openTun(name, vnetHeader);
      if (fd < 0) throw systemError("open", -fd, `/dev/net/tun as ${name}`);
      return fd;
    },

    /** @param fd any socket of the network namespace in question. */
    interfaceIndex(fd: number, name: string): number {
      const request = interfaceRequest(name);
      if (request === undefined) throw new RangeError(`${name} is no interface name`);
      checked("ioctl", `SIOCGIFINDEX ${name}`, fd, SIOCGIFINDEX, request);
      return request.readInt32LE(INTERFACE_NAME_BYTES);
    },

    /** mount(2): mount(8) refuses a user id other than 0, even one with all capabilities of its namespace. */
    mount(source: string, target: string, type: string | null, flags: number, data: string | null): void {
      checked("mount", `${source} on ${target}`, source, target, type, flags, data);
    },

    umount(target: string, flags: number): void {
      checked("umount2", target, target, flags);
    },

    /** Two connected ends that keep message boundaries. */
    socketpair(): [number, number] {
      const pair = fixed(8).buffer;
      checked("socketpair", "", AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
      return [pair.readInt32LE(0), pair.readInt32LE(4)];
    },

    /** A real pipe [read end, write end]: an app may open /dev/stdout, which fails on the socket pairs that Node makes. */
    pipe(): [number, number] {
      const pair = fixed(8).buffer;
      checked("pipe2", "", pair, O_CLOEXEC);
      return [pair.readInt32LE(0), pair.readInt32LE(4)];
    },

    socket(domain: number, type: number, protocol: number, nonBlocking = false): number {
      return checked("socket", "", domain, type | SOCK_CLOEXEC | (nonBlocking ? SOCK_NONBLOCK : 0), protocol);
    },

    /** @returns whether it is connected; false: under way (non-blocking). */
    connect(fd: number, address: Buffer): boolean {
      try {
        checked("connect", "", fd, address, address.length);
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EINPROGRESS") return false;
        throw error;
      }
    },

    /**
     * connect(AF_UNSPEC): ends a TCP socket's connection and makes it usable again, in the namespace where it was made. In repair mode,
     * which the owner of the namespace may switch on, nothing is sent; else the other side gets a reset.
     */
    disconnect(fd: number): void {
      const unspecified = Buffer.alloc(16);
      const repair = (mode: number) => {
        const value = fixed(4).buffer;
        value.writeInt32LE(mode);
        // Refused by old kernels and sandboxes like gVisor: then with a reset.
        calls.setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, value, 4);
      };
      repair(TCP_REPAIR_ON);
      try {
        checked("connect", "AF_UNSPEC", fd, unspecified, unspecified.length);
      } finally {
        repair(TCP_REPAIR_OFF_NO_WINDOW_PROBE);
      }
    },

    shutdown(fd: number, how: number): void {
      checked("shutdown", "", fd, how);
    },

    /** SO_ERROR as an error, or undefined; reading it clears it. */
    socketError(fd: number, subject: string): NodeJS.ErrnoException | undefined {
      const value = fixed(4).buffer;
      const length = fixed(4).buffer;
      length.writeUInt32LE(4);
      checked("getsockopt", "SO_ERROR", fd, SOL_SOCKET, SO_ERROR, value, length);
      const errno = value.readInt32LE();
      return errno === 0 ? undefined : systemError("connect", errno, subject);
    },

    /** Bounds blocking sends, receives and connects. @param ms milliseconds, above 0. */
    setTimeouts(fd: number, ms: number): void {
      const time = fixed(16).buffer;
      time.writeBigInt64LE(BigInt(Math.floor(ms / 1000)), 0);
      time.writeBigInt64LE(BigInt(Math.ceil(ms % 1000) * 1000), 8);
      checked("setsockopt", "SO_RCVTIMEO", fd, SOL_SOCKET, SO_RCVTIMEO, time, 16);
      checked("setsockopt", "SO_SNDTIMEO", fd, SOL_SOCKET, SO_SNDTIMEO, time, 16);
    },

    /** @returns bytes taken. */
    send(fd: number, data: Buffer): number {
      return checked("send", "", fd, data, data.length, MSG_NOSIGNAL);
    },

    /** @returns the bytes that came (empty: the end), or undefined where a non-blocking socket has none. */
    receive(fd: number, maxBytes: number): Buffer | undefined {
      const space = fixed(maxBytes).buffer;
      try {
        return space.subarray(0, checked("recv", "", fd, space, maxBytes, 0));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
        throw error;
      }
    },

    /** Sends `data` (at least one byte) with descriptors. */
    sendDescriptors(fd: number, data: Buffer, descriptors: readonly number[]): void {
      if (data.length === 0 || descriptors.length === 0 || descriptors.length > MAX_DESCRIPTORS)
        throw new RangeError(`one byte or more and 1 to ${MAX_DESCRIPTORS} descriptors are needed`);
      // CMSG_SPACE: the header of 16 bytes and the descriptors, rounded up to 8.
      const msg = message(data, 16 + ((descriptors.length * 4 + 7) & ~7));
      msg.control.writeBigUInt64LE(BigInt(16 + descriptors.length * 4), 0);
      msg.control.writeInt32LE(SOL_SOCKET, 8);
      msg.control.writeInt32LE(SCM_RIGHTS, 12);
      for (const [i, descriptor] of descriptors.entries()) msg.control.writeInt32LE(descriptor, 16 + i * 4);
      const sent = checked("sendmsg", "", fd, msg.header, MSG_NOSIGNAL);
      if (sent !== data.length) throw systemError("sendmsg", os.constants.errno.EMSGSIZE, `${sent} bytes`);
    },

    /**
     * Receives one message with its descriptors (close-on-exec); they belong to the caller.
     * @param wait false: EAGAIN is thrown where none has come.
     */
    receiveDescriptors(fd: number, maxBytes: number, wait: boolean): { data: Buffer; descriptors: number[] } {
      const msg = message(Buffer.alloc(maxBytes), 16 + MAX_DESCRIPTORS * 4);
      const length = checked("recvmsg", "", fd, msg.header, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
      const controlLength = Number(msg.header.readBigUInt64LE(40));
      const descriptors: number[] = [];
      if (
        controlLength >= 16 &&
        msg.control.readInt32LE(8) === SOL_SOCKET &&
        msg.control.readInt32LE(12) === SCM_RIGHTS
      ) {
        const end = Math.min(Number(msg.control.readBigUInt64LE(0)), controlLength);
        for (let at = 16; at + 4 <= end; at += 4) descriptors.push(msg.control.readInt32LE(at));
      }
      if ((msg.header.readInt32LE(48) & MSG_CTRUNC) !== 0) {
        for (const descriptor of descriptors) calls.close(descriptor);
        throw systemError("recvmsg", os.constants.errno.EMSGSIZE, "descriptors cut off");
      }
      return { data: msg.payload.subarray(0, length), descriptors };
    },

    /** @param timeout milliseconds; 0: do not wait. @returns revents. */
    poll(fd: number, events: number, timeout: number): number {
      const entry = fixed(8).buffer;
      entry.writeInt32LE(fd, 0);
      entry.writeInt16LE(events, 4);
      checked("poll", "", entry, 1, timeout);
      return entry.readInt16LE(6);
    },

    /** Takes the exclusive lock of an open file; the kernel frees it when the last descriptor goes. @returns false: another holds it. */
    tryLock(fd: number): boolean {
      try {
        checked("flock", "", fd, LOCK_EX_NB);
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false;
        throw error;
      }
    },
  };
}

export type Libc = ReturnType<typeof createLibc>;

let loaded: Libc | undefined;

/** @throws WarrenError WARREN_LINK_UNAVAILABLE where this machine or installation cannot do foreign calls. */
export function libc(): Libc {
  loaded ??= createLibc(foreign());
  return loaded;
}

/** As `libc()`; undefined where this machine or installation has none. */
export function libcIfAny(): Libc | undefined {
  try {
    return libc();
  } catch {
    return undefined;
  }
}

/** AF_INET or AF_INET6. */
export function family(address: string): number {
  return net.isIPv4(address) ? AF_INET : AF_INET6;
}
