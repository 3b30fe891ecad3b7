/** What the main thread and the data plane's thread tell each other. */
import type { WarrenErrorCode } from "../errors";
import type { ApplyResult, DataPlaneConfig, DataPlaneEvent, DataPlaneStatus, KeepAnswer, PeerChanges } from "./config";
import type { StackRings } from "./stack-links";

export interface WorkerStart {
  /** Wakes the thread from its poll. */
  readonly wakeFd: number;
  /** One Int32; not 0: end. Looked at after each wake-up, so that the thread ends even where no message can be sent. */
  readonly stop: SharedArrayBuffer;
  /** See bells.ts. */
  readonly bells: SharedArrayBuffer;
  readonly keeperSocket?: string;
  /** The value of WARREN_AEAD. */
  readonly aead?: string;
}

export type ToWorker =
  | { readonly type: "apply"; readonly id: number; readonly config: DataPlaneConfig }
  | { readonly type: "peers"; readonly id: number; readonly changes: PeerChanges }
  | { readonly type: "status"; readonly id: number }
  | { readonly type: "dns-answer"; readonly id: number; readonly message?: Uint8Array; readonly keep?: KeepAnswer }
  /** Answers of other generations no longer hold. */
  | { readonly type: "dns-generation"; readonly generation: number };

export type FromWorker =
  /** With what the log should say of how it started. */
  | { readonly type: "ready"; readonly aead: string; readonly notes: readonly string[] }
  | { readonly type: "refused"; readonly code: WarrenErrorCode; readonly message: string; readonly path?: string }
  | { readonly type: "applied"; readonly id: number; readonly result: ApplyResult }
  | { readonly type: "peers-changed"; readonly id: number; readonly problems: readonly string[] }
  | { readonly type: "status"; readonly id: number; readonly status: DataPlaneStatus }
  | { readonly type: "failed"; readonly id: number; readonly message: string }
  | {
      readonly type: "dns";
      readonly id: number;
      readonly gateway: string;
      readonly from: string;
      readonly message: Uint8Array;
    }
  /** A link with a stack: its rings. Comes before the answer to `apply`. */
  | { readonly type: "pipe"; readonly rings: StackRings }
  | { readonly type: "pipe-closed"; readonly link: string }
  /** Bells were rung while the stacks' side slept. */
  | { readonly type: "wake" }
  | { readonly type: "event"; readonly event: DataPlaneEvent }
  | { readonly type: "log"; readonly message: string };
