/** What the agent and other users see of the data plane, whichever way its packets move. */
import type { ApplyResult, DataPlaneConfig, DataPlaneEvent, DataPlaneStatus, DnsHandler } from "./config";
import { DataPlane } from "./dataplane";
import type { PacketPipe } from "./pipe";

export interface DataPlaneOptions {
  /** The keeper's socket, for links that it holds. */
  readonly keeperSocket?: string;
  /** Forces an AEAD. @default the environment's WARREN_AEAD, else the fastest that works */
  readonly aead?: string;
  readonly log: (message: string) => void;
}

export interface DataPlaneApi {
  /** Name of the AEAD in use. */
  readonly aead: string;
  /** Makes the data plane equal to this, keeping what did not change. Problems are in the answer; the rest is applied. */
  apply(config: DataPlaneConfig): Promise<ApplyResult>;
  status(): Promise<DataPlaneStatus>;
  /** Who answers questions to the DNS addresses; without one they stay unanswered. */
  onDns(handler: DnsHandler): void;
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

/**
 * Starts the data plane. It does not keep the process alive.
 * @throws WarrenError WARREN_LINK_UNAVAILABLE where this machine or installation cannot run it, WARREN_INVALID_INPUT for
 *   an unknown AEAD.
 */
export function startDataPlane(options: DataPlaneOptions): Promise<DataPlaneApi> {
  return DataPlane.start(options);
}
