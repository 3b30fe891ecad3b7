/** Stable codes a program can switch on. New ones may be added; none changes its meaning. */
export type EngineErrorCode =
  | "ENGINE_PROJECT" // Pulumi.yaml or Pulumi.<stack>.yaml is missing or not valid
  | "ENGINE_SDK" // @pulumi/pulumi is not installed where the program can load it
  | "ENGINE_UNSUPPORTED" // a feature of Pulumi that this engine does not have; the message names it
  | "ENGINE_PASSPHRASE" // the passphrase does not fit the stack's secrets
  | "ENGINE_STATE" // the state file cannot be read, written or trusted
  | "ENGINE_LOCKED" // another live process works on this stack; the message names its pid
  | "ENGINE_PROGRAM_FAILED" // the program threw, or ended with a non-zero code
  | "ENGINE_CHECK_FAILED" // a resource's inputs were refused; the message names property and reason
  | "ENGINE_OPERATION_FAILED" // create, update, delete, read or diff of a resource failed
  | "ENGINE_PROTECTED" // the change would delete a protected resource
  | "ENGINE_STACK_REFERENCE" // a referenced stack does not exist or cannot be read
  | "ENGINE_PROVIDER_CRASHED" // the dynamic provider's process ended in the middle of an operation
  | "ENGINE_CANCELLED" // the caller's AbortSignal fired; the state is true
  | "ENGINE_INTERNAL";

/** Where an error belongs. */
export interface EngineErrorDetails {
  /** The resource at fault. */
  urn?: string;
  cause?: unknown;
}

/** An error a person can act on: one sentence, a stable code, the resource where there is one. */
export class EngineError extends Error {
  readonly code: EngineErrorCode;
  readonly urn?: string;

  constructor(code: EngineErrorCode, message: string, details: EngineErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "EngineError";
    this.code = code;
    if (details.urn !== undefined) this.urn = details.urn;
  }

  /** True for an EngineError of any loaded copy of this module. */
  static is(error: unknown): error is EngineError {
    return error instanceof Error && error.name === "EngineError" && typeof (error as EngineError).code === "string";
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
