/** Stable codes a program can switch on. New ones may be added; none changes its meaning. */
export type WarrenErrorCode =
  | "WARREN_INVALID_INPUT" // a value that can never be right; `path` names it
  | "WARREN_INVALID_RANGE" // not a CIDR range, or too small
  | "WARREN_ADDRESS_OUTSIDE" // a pinned address outside the network's range
  | "WARREN_ADDRESS_TAKEN" // a pinned address that another member holds
  | "WARREN_ADDRESS_RESERVED" // a pinned address that is never issued (network, broadcast, .1, .2, reserved)
  | "WARREN_RANGE_EXHAUSTED" // no free address is left
  | "WARREN_RANGE_IN_USE" // a range cannot shrink while leases lie outside it
  | "WARREN_NAME_TAKEN" // another owner has an object of this name
  | "WARREN_NOT_FOUND"
  | "WARREN_NOT_EMPTY" // a network that still has members of other stacks
  | "WARREN_FOREIGN_REGISTRY" // the state belongs to another registry
  | "WARREN_UNSUPPORTED" // part of the interface that this version does not do yet
  | "WARREN_NOT_READY" // a deadline passed; the message says what is missing
  | "WARREN_APP_FAILED" // the command does not exist, cannot be run, or ends at once
  | "WARREN_LINK_UNAVAILABLE" // no TUN device or no namespaces on this machine
  | "WARREN_UNREACHABLE" // a member that takes no connection; the message has the system's word for it
  | "WARREN_CONTROL_UNREACHABLE"
  | "WARREN_PERMISSION" // daemon of another user, state folder not writable
  | "WARREN_STORAGE" // the registry cannot be written (disk full, damaged)
  | "WARREN_VERSION" // two parts of Warren that do not understand each other
  | "WARREN_FAILED" // an operation whose failures have been shown already, one by one
  | "WARREN_INTERNAL";

/** An error a person can act on: the message is one sentence that names the input and the remedy. */
export class WarrenError extends Error {
  readonly code: WarrenErrorCode;
  /** The input at fault, such as `cidr` or `env.PORT`. */
  readonly path?: string;

  constructor(code: WarrenErrorCode, message: string, options: { path?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "WarrenError";
    this.code = code;
    if (options.path !== undefined) this.path = options.path;
  }

  /** True for a WarrenError of any loaded copy of this package. */
  static is(error: unknown): error is WarrenError {
    return error instanceof Error && typeof (error as WarrenError).code === "string" && error.name === "WarrenError";
  }
}
