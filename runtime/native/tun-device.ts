/**
 * A TUN device as its owner sees it beside the packets: name, network namespace, state and MTU, wherever the device has been moved
 * to. Foreign calls through koffi; every one is bounded and answers with a negative errno.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import { WarrenError } from "../errors";
import { errnoName, loadKoffi } from "./packet-io";

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const NETLINK_ROUTE = 0;
/** Changes of links. [rtnetlink(7)] */
const RTMGRP_LINK = 1;
const CLONE_NEWNET = 0x40000000;
const TUNSETIFF = 0x400454ca;
const TUNGETIFF = 0x800454d2;
/** A descriptor of the device's network namespace; Linux 5.2 and later. */
const TUNGETDEVNETNS = 0x54e3;
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const IFF_TUN = 0x1;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_RUNNING = 0x40;
/** IFNAMSIZ with the closing zero; struct ifreq has 24 bytes behind it. */
const NAME_BYTES = 16;
const IFREQ_BYTES = 40;

export interface TunState {
  /** Up and able to pass packets. */
  readonly up: boolean;
  /** Bytes. */
  readonly mtu: number;
}

interface Calls {
  open(path: string, flags: number): number;
  close(fd: number): number;
  ioctl(fd: number, request: number, argument: Buffer | null): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  setns(fd: number, type: number): number;
}

function bindCalls(): Calls {
  const koffi = loadKoffi();
  const lib = koffi.load(null);
  const bind = (name: string, args: string[]) => {
    const call = lib.func(name, "int", args) as unknown as (...values: unknown[]) => number;
    return (...values: unknown[]): number => {
      const result = call(...values);
      return result < 0 ? -koffi.errno() : result;
    };
  };
  return {
    open: bind("open", ["str", "int"]),
    close: bind("close", ["int"]),
    ioctl: bind("ioctl", ["int", "unsigned long", "void *"]),
    socket: bind("socket", ["int", "int", "int"]),
    bind: bind("bind", ["int", "void *", "unsigned int"]),
    setns: bind("setns", ["int", "int"]),
  };
}

export class TunDevice {
  private readonly request = Buffer.from(new ArrayBuffer(IFREQ_BYTES));
  /** A netlink socket of the namespace in which the device is; -1: none yet. */
  private socket = -1;
  /** Those of namespaces that it has left. */
  private left: number[] = [];
  private namespace = -1;
  private last: TunState = { up: false, mtu: 0 };

  private constructor(
    private readonly calls: Calls,
    readonly fd: number,
  ) {}

  /**
   * Makes the device, in this process's network namespace.
   * @throws WarrenError WARREN_INVALID_INPUT, WARREN_PERMISSION, WARREN_LINK_UNAVAILABLE, WARREN_NAME_TAKEN
   */
  static create(name: string): TunDevice {
    const calls = bindCalls();
    const fd = calls.open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) throw cannotOpen(fd);
    const device = new TunDevice(calls, fd);
    device.request.fill(0);
    device.request.write(name, 0, NAME_BYTES - 1);
    device.request.writeUInt16LE(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, NAME_BYTES);
    const set = calls.ioctl(fd, TUNSETIFF, device.request);
    if (set < 0) {
      device.close();
      throw cannotMake(name, set);
    }
    return device;
  }

  /** Takes over a device that somebody else opened. @throws WarrenError WARREN_INVALID_INPUT for anything else. */
  static adopt(fd: number): TunDevice {
    const device = new TunDevice(bindCalls(), fd);
    if (device.name === undefined)
      throw new WarrenError("WARREN_INVALID_INPUT", `Descriptor ${fd} (WG_TUN_FD) is no open TUN device.`, {
        path: "WG_TUN_FD",
      });
    return device;
  }

  /** Its present name; undefined: it has been deleted. */
  get name(): string | undefined {
    this.request.fill(0);
    if (this.calls.ioctl(this.fd, TUNGETIFF, this.request) < 0) return undefined;
    return this.request.toString("utf8", 0, this.request.indexOf(0));
  }

  /**
   * A non-blocking socket that becomes readable when a device of its namespace changes; another one once the device has moved. What is
   * read from it means nothing: ask `state`. -1: none.
   */
  get news(): number {
    return this.socket;
  }

  /** Nobody looks at former sockets of `news` any more: till now their numbers could not become those of other files. */
  forgetOldNews(): void {
    for (const fd of this.left) this.calls.close(fd);
    this.left = [];
  }

  /** @returns undefined when the device has been deleted; the last known state where its namespace cannot be seen. */
  state(): TunState | undefined {
    const { name } = this;
    if (name === undefined) return undefined;
    this.follow();
    if (this.ask(SIOCGIFFLAGS, name) < 0) return this.last;
    const up = (this.request.readUInt16LE(NAME_BYTES) & IFF_RUNNING) !== 0;
    const got = this.ask(SIOCGIFMTU, name);
    const mtu = got < 0 ? this.last.mtu : this.request.readInt32LE(NAME_BYTES);
    if (up !== this.last.up || mtu !== this.last.mtu) this.last = { up, mtu };
    return this.last;
  }

  /** @param mtu bytes. @returns 0 or a negative errno. */
  setMtu(mtu: number): number {
    const { name } = this;
    if (name === undefined) return -os.constants.errno.ENODEV;
    this.follow();
    return this.ask(SIOCSIFMTU, name, mtu);
  }

  close(): void {
    this.calls.close(this.fd);
    this.forgetOldNews();
    if (this.socket >= 0) this.calls.close(this.socket);
    this.socket = -1;
  }

  private ask(request: number, name: string, value = 0): number {
    if (this.socket < 0) return -os.constants.errno.ENODEV;
    this.request.fill(0);
    this.request.write(name, 0, NAME_BYTES - 1);
    this.request.writeInt32LE(value, NAME_BYTES);
    return this.calls.ioctl(this.socket, request, this.request);
  }

  /** Has a socket in the device's namespace. Where the kernel cannot tell it, that of the process stands for it. */
  private follow(): void {
    const { calls } = this;
    const namespace = calls.ioctl(this.fd, TUNGETDEVNETNS, null);
    const inode = namespace < 0 ? 0 : fs.fstatSync(namespace).ino;
    if (this.socket < 0 || inode !== this.namespace) {
      const socket = namespace < 0 ? openSocket(calls) : this.within(namespace, () => openSocket(calls));
      if (socket >= 0) {
        if (this.socket >= 0) this.left.push(this.socket);
        this.socket = socket;
        this.namespace = inode;
      }
    }
    if (namespace >= 0) calls.close(namespace);
  }

  /** Only this thread enters the namespace, and nothing else runs on it meanwhile. */
  private within(namespace: number, work: () => number): number {
    const { calls } = this;
    const own = calls.open("/proc/thread-self/ns/net", O_CLOEXEC);
    if (own < 0) return own;
    let result = calls.setns(namespace, CLONE_NEWNET);
    if (result >= 0) {
      result = work();
      const back = calls.setns(own, CLONE_NEWNET);
      if (back < 0)
        throw new WarrenError(
          "WARREN_INTERNAL",
          `The way back from the interface's network namespace failed (${errnoName(back)}): start the interface again.`,
        );
    }
    calls.close(own);
    return result;
  }
}

/** Hears of links, and takes questions about them (SIOCGIF…) as every socket does. */
function openSocket(calls: Calls): number {
  const fd = calls.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return fd;
  // struct sockaddr_nl
  const address = Buffer.from(new ArrayBuffer(12));
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(RTMGRP_LINK, 8);
  const bound = calls.bind(fd, address, address.length);
  if (bound >= 0) return fd;
  calls.close(fd);
  return bound;
}

function cannotOpen(errno: number): WarrenError {
  const name = errnoName(errno);
  if (name === "EACCES" || name === "EPERM")
    return new WarrenError(
      "WARREN_PERMISSION",
      "/dev/net/tun cannot be opened: run it as root, or with the capability CAP_NET_ADMIN.",
    );
  if (name === "ENOENT" || name === "ENODEV" || name === "ENXIO")
    return new WarrenError(
      "WARREN_LINK_UNAVAILABLE",
      "This machine has no /dev/net/tun: load the kernel module tun, or give the container that device.",
    );
  return new WarrenError("WARREN_LINK_UNAVAILABLE", `/dev/net/tun cannot be opened (${name}).`);
}

function cannotMake(device: string, errno: number): WarrenError {
  const name = errnoName(errno);
  if (name === "EPERM" || name === "EACCES")
    return new WarrenError(
      "WARREN_PERMISSION",
      `The interface ${device} cannot be made: run it as root, or with the capability CAP_NET_ADMIN.`,
    );
  if (name === "EBUSY")
    return new WarrenError(
      "WARREN_NAME_TAKEN",
      `The interface ${device} is in use by another program: choose another name.`,
    );
  if (name === "EINVAL" || name === "EEXIST")
    return new WarrenError(
      "WARREN_NAME_TAKEN",
      `There is an interface ${device} of another kind, or its name is none: choose another name.`,
    );
  return new WarrenError("WARREN_LINK_UNAVAILABLE", `The interface ${device} cannot be made (${name}).`);
}
