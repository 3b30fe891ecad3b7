/** Fetches a TUN descriptor from the keeper, synchronously: for the data plane's thread. */
import { WarrenError } from "../errors";
import { AF_UNIX, libc, SOCK_STREAM, unixAddress } from "../native/libc";

/** Milliseconds. */
const TIMEOUT = 2000;

/**
 * @param keeperSocket `Home.keeperSocket`.
 * @param sandbox its id.
 * @returns a non-blocking descriptor that belongs to the caller. While any copy is open the sandbox's network namespace stays: close
 *   it before the sandbox is removed.
 * @throws WarrenError WARREN_NOT_FOUND where the keeper has no such sandbox, WARREN_CONTROL_UNREACHABLE where no keeper answers.
 */
export function fetchTunDescriptor(keeperSocket: string, sandbox: string, timeout = TIMEOUT): number {
  const c = libc();
  const fd = c.socket(AF_UNIX, SOCK_STREAM, 0);
  try {
    c.setTimeouts(fd, timeout);
    c.connect(fd, unixAddress(keeperSocket));
    const request = Buffer.from(`${JSON.stringify({ fd: sandbox })}\n`);
    for (let at = 0; at < request.length; ) at += c.send(fd, request.subarray(at));
    const { data, descriptors } = c.receiveDescriptors(fd, 1, true);
    if (descriptors.length === 1) return descriptors[0];
    for (const descriptor of descriptors) c.close(descriptor);
    if (data.length === 0)
      throw new WarrenError("WARREN_NOT_FOUND", `The keeper at ${keeperSocket} has no sandbox ${sandbox}.`);
    throw new WarrenError("WARREN_VERSION", `The keeper at ${keeperSocket} answered something else than a descriptor.`);
  } catch (cause) {
    if (WarrenError.is(cause)) throw cause;
    throw new WarrenError(
      "WARREN_CONTROL_UNREACHABLE",
      `The keeper at ${keeperSocket} did not hand over the device of ${sandbox} (${(cause as Error).message}).`,
      { cause },
    );
  } finally {
    c.close(fd);
  }
}
