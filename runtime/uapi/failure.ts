/** What a UAPI answer says went wrong. [https://www.wireguard.com/xplatform/; wireguard-go device/uapi.go, ipc/uapi_unix.go] */
import * as os from "node:os";

const { EADDRINUSE, EINVAL, EIO, EPERM, EPROTO } = os.constants.errno;

/** Values of `errno=`: negative, and those that wireguard-go gives for the same fault. */
export const UapiErrno = {
  /** The request could not be read, or the answer not be made. */
  io: -EIO,
  /** A line without `=`. */
  protocol: -EPROTO,
  /** An unknown key or a value that is none. */
  invalid: -EINVAL,
  /** The UDP port or the mark could not be set. */
  portInUse: -EADDRINUSE,
  /** This interface is configured elsewhere. */
  refused: -EPERM,
} as const;

export interface Failure {
  readonly errno: number;
  /** For the log; names the key of the line and never its value, which may be a secret. */
  readonly message: string;
}

export function failure(errno: number, message: string): Failure {
  return { errno, message };
}
