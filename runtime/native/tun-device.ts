/**
 * A TUN device as its owner sees it beside the packets: name, network namespace, state and MTU, wherever the device has been moved
 * to. Every foreign call is bounded and answers with a negative errno.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import { WarrenError } from "../errors";
import { errnoName } from "./errno";
import { type CType, foreign } from "./foreign";
import { IFREQ_BYTES, INTERFACE_NAME_BYTES, inNamespace, openTun } from "./tun-open";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const NETLINK_ROUTE = 0;
/** Changes of links. [rtnetlink(7)] */
const RTMGRP_LINK = 1;
const TUNGETIFF = 0x800454d2;
/** A descriptor of the device's network namespace; Linux 5.2 and later. */
const TUNGETDEVNETNS = 0x54e3;
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const IFF_RUNNING = 0x40;

export interface TunState {
  /** Up and able to pass packets. */
  readonly up: boolean;
  /** Bytes. */
  readonly mtu: number;
}

type Argument = number | Buffer | null;
type Calls = ReturnType<typeof bindCalls>;

function bindCalls() {
  const native = foreign();
  const bind = (name: string, args: readonly CType[]) => {
    const call = native.bind<Argument>(name, "int", args);
    return (...values: Argument[]): number => {
      const result = call(...values);
      return result < 0 ? -native.errno() : result;
    };
  };
  return {
    close: bind("close", ["int"]),
    ioctl: bind("ioctl", ["int", "unsigned long", "void *"]),
    socket: bind("socket", ["int", "int", "int"]),
    bind: bind("bind", ["int", "void *", "unsigned int"]),
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
    const fd = openTun(name, true);
    if (fd >= 0) return new TunDevice(bindCalls(), fd);
    throw cannotMake(name, fd);
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
    const up = (this.request.readUInt16LE(INTERFACE_NAME_BYTES) & IFF_RUNNING) !== 0;
    const got = this.ask(SIOCGIFMTU, name);
    const mtu = got < 0 ? this.last.mtu : this.request.readInt32LE(INTERFACE_NAME_BYTES);
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
    this.request.write(name, 0, INTERFACE_NAME_BYTES - 1);
    this.request.writeInt32LE(value, INTERFACE_NAME_BYTES);
    return this.calls.ioctl(this.socket, request, this.request);
  }

  /** Has a socket in the device's namespace. Where the kernel cannot tell it, that of the process stands for it. */
  private follow(): void {
    const { calls } = this;
    const namespace = calls.ioctl(this.fd, TUNGETDEVNETNS, null);
    const inode = namespace < 0 ? 0 : fs.fstatSync(namespace).ino;
    if (this.socket < 0 || inode !== this.namespace) {
      const socket = namespace < 0 ? openSocket(calls) : inNamespace(namespace, () => openSocket(calls));
      if (socket >= 0) {
        if (this.socket >= 0) this.left.push(this.socket);
        this.socket = socket;
        this.namespace = inode;
      }
    }
    if (namespace >= 0) calls.close(namespace);
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

function cannotMake(device: string, errno: number): WarrenError {
  switch (errnoName(errno)) {
    case "EPERM":
    case "EACCES":
      return new WarrenError(
        "WARREN_PERMISSION",
        `The interface ${device} cannot be made on /dev/net/tun: run it as root, or with the capability CAP_NET_ADMIN.`,
      );
    case "ENOENT":
    case "ENODEV":
    case "ENXIO":
      return new WarrenError(
        "WARREN_LINK_UNAVAILABLE",
        "This machine has no /dev/net/tun: load the kernel module tun, or give the container that device.",
      );
    case "EBUSY":
      return new WarrenError(
        "WARREN_NAME_TAKEN",
        `The interface ${device} is in use by another program: choose another name.`,
      );
    case "EINVAL":
    case "EEXIST":
      return new WarrenError(
        "WARREN_NAME_TAKEN",
        `There is an interface ${device} of another kind, or its name is none (at most ${INTERFACE_NAME_BYTES - 1} bytes): choose another name.`,
      );
    default:
      return new WarrenError(
        "WARREN_LINK_UNAVAILABLE",
        `The interface ${device} cannot be made (${errnoName(errno)}).`,
      );
  }
}
