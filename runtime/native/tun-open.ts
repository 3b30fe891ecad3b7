/** Making or attaching to a TUN device, and what a thread does in another network namespace. */
import * as os from "node:os";
import { WarrenError } from "../errors";
import { errnoName } from "./errno";
import { foreign } from "./foreign";

type Calls = ReturnType<typeof bindCalls>;

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;
const TUNSETIFF = 0x400454ca;
export const IFF_TUN = 0x1;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
/** IFNAMSIZ with the closing zero; and struct ifreq, in which it comes first. */
export const INTERFACE_NAME_BYTES = 16;
export const IFREQ_BYTES = 40;

function bindCalls() {
  const native = foreign();
  const bind = (name: string, args: Parameters<typeof native.bind>[2]) => {
    const call = native.bind<number | string | Buffer>(name, "int", args);
    return (...values: (number | string | Buffer)[]): number => {
      const result = call(...values);
      return result < 0 ? -native.errno() : result;
    };
  };
  return {
    open: bind("open", ["str", "int"]),
    close: bind("close", ["int"]),
    ioctl: bind("ioctl", ["int", "unsigned long", "void *"]),
    setns: bind("setns", ["int", "int"]),
  };
}

let bound: Calls | undefined;
const calls = (): Calls => {
  bound ??= bindCalls();
  return bound;
};

/** A struct ifreq with this name; undefined where no interface can have it. */
export function interfaceRequest(name: string): Buffer | undefined {
  const bytes = Buffer.from(name);
  if (bytes.length === 0 || bytes.length >= INTERFACE_NAME_BYTES || /[\s/\0]/.test(name)) return undefined;
  const request = Buffer.from(new ArrayBuffer(IFREQ_BYTES));
  bytes.copy(request);
  return request;
}

/**
 * A non-blocking TUN device without packet information in the thread's network namespace.
 * @param vnetHeader each packet follows a virtio header
 * @returns its descriptor, or a negative errno
 */
export function openTun(name: string, vnetHeader: boolean): number {
  const request = interfaceRequest(name);
  if (request === undefined) return -os.constants.errno.EINVAL;
  const { open, ioctl, close } = calls();
  const fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return fd;
  request.writeUInt16LE(IFF_TUN | IFF_NO_PI | (vnetHeader ? IFF_VNET_HDR : 0), INTERFACE_NAME_BYTES);
  const set = ioctl(fd, TUNSETIFF, request);
  if (set >= 0) return fd;
  close(fd);
  return set;
}

/**
 * Does something in another network namespace: only this thread enters it, and nothing else runs on it meanwhile.
 * @param namespace its path, or a descriptor that stays open
 * @returns what `work` does, or a negative errno
 * @throws WarrenError WARREN_INTERNAL where there is no way back
 */
export function inNamespace(namespace: string | number, work: () => number): number {
  const { open, close, setns } = calls();
  const own = open("/proc/thread-self/ns/net", O_CLOEXEC);
  if (own < 0) return own;
  const other = typeof namespace === "number" ? namespace : open(namespace, O_CLOEXEC);
  let result = other < 0 ? other : setns(other, CLONE_NEWNET);
  if (result >= 0) {
    result = work();
    const back = setns(own, CLONE_NEWNET);
    if (back < 0)
      throw new WarrenError(
        "WARREN_INTERNAL",
        `The way back from another network namespace failed (${errnoName(back)}): start this program again.`,
      );
  }
  if (typeof namespace === "string" && other >= 0) close(other);
  close(own);
  return result;
}
