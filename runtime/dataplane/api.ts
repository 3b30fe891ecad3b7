/** What the agent and other users see of the data plane, whichever way its packets move. */

import { WarrenError } from "../errors";
import type { ApplyResult, DataPlaneConfig, DataPlaneEvent, DataPlaneStatus, DnsHandler, OwnNames } from "./config";
import { DataPlane } from "./dataplane";
import type { PacketPipe } from "./pipe";
import { PortableDataPlane } from "./portable";

export interface DataPlaneOptions {
  /** The keeper's socket, for links that it holds. */
  readonly keeperSocket?: string;
  /** Forces an AEAD. @default the environment's WARREN_AEAD, else the fastest that works */
  readonly aead?: string;
  /** Threads at most, on native code; a host has one to itself where there are enough. @default half of the machine's processor cores */
  readonly threads?: number;
  readonly log: (message: string) => void;
}

export interface DataPlaneApi {
  /** Name of the AEAD in use. */
  readonly aead: string;
  /** Makes the data plane equal to this, keeping what did not change. Problems are in the answer; the rest is applied. */
  apply(config: DataPlaneConfig): Promise<ApplyResult>;
  status(): Promise<DataPlaneStatus>;
  /** Who answers questions to the DNS addresses; without one they stay unanswered. */
  onDns(handler: DnsHandler, names?: OwnNames): void;
  /** @returns the way to stop listening. */
  onEvent(listener: (event: DataPlaneEvent) => void): () => void;
  /**
   * The far end of a link with the source `stack` (of a gateway's own stack too), once `apply` has answered. The same object for as
   * long as the link is configured; afterwards its `send` takes nothing any more.
   */
  pipe(linkId: string): PacketPipe | undefined;
  /** Ends it and closes its sockets and devices. */
  stop(): Promise<void>;
}

/** What was asked for is wrong, and would be so without native code too. */
const isBadInput = (error: unknown): boolean =>
  WarrenError.is(error) && (error.code === "WARREN_INVALID_INPUT" || error.code === "WARREN_UNSUPPORTED");

/**
 * Starts the data plane: the native one where it works, else the portable one with a line in the log that says why. It does not keep
 * the process alive. The environment's WARREN_IO forces one: `native` or `portable`.
 * @throws WarrenError WARREN_INVALID_INPUT for an unknown AEAD or WARREN_IO, WARREN_UNSUPPORTED for an AEAD that does not work here,
 *   WARREN_LINK_UNAVAILABLE or WARREN_INTERNAL where `native` was asked for and cannot be had.
 */
export async function startDataPlane(options: DataPlaneOptions): Promise<DataPlaneApi> {
  const forced = process.env.WARREN_IO ?? "";
  if (!["", "native", "portable"].includes(forced))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `WARREN_IO is "${forced}", but the choices are native and portable: set one of them, or leave it unset.`,
      { path: "WARREN_IO" },
    );
  if (forced === "portable") return PortableDataPlane.start(options);
  try {
    return await DataPlane.start(options);
  } catch (error) {
    if (forced === "native" || isBadInput(error)) throw error;
    options.log(`The data plane runs without native code, with userspace links only: ${(error as Error).message}`);
    return PortableDataPlane.start(options);
  }
}
