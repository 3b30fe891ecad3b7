/** Errors of system calls by number. */
import * as os from "node:os";

/** Values that callers switch on. */
export const Errno = {
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENODEV: 19,
  EINVAL: 22,
  EBADFD: 77,
  EMSGSIZE: 90,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
} as const;

/** The text for a negative errno: `EADDRINUSE`. */
export function errnoName(result: number): string {
  for (const [name, value] of Object.entries(os.constants.errno)) if (value === -result) return name;
  return result === -Errno.EBADFD ? "EBADFD" : `errno ${-result}`;
}
