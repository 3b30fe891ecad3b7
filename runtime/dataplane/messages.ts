/** What the main thread and the data plane's thread tell each other. */
import type { WarrenErrorCode } from "../errors";
import type { ApplyResult, DataPlaneConfig, DataPlaneEvent, DataPlaneStatus, PeerChanges } from "./config";

export interface WorkerStart {
  /** Wakes the thread from its poll. */
  readonly wakeFd: number;
  /** One Int32; not 0: end. Looked at after each wake-up, so that the thread ends even where no message can be sent. */
  readonly stop: SharedArrayBuffer;
  readonly keeperSocket?: string;
  /** The value of WARREN_AEAD. */
  readonly aead?: string;
}

export type ToWorker =
  | { readonly type: "apply"; readonly id: number; readonly config: DataPlaneConfig }
  | { readonly type: "peers"; readonly id: number; readonly changes: PeerChanges }
  | { readonly type: "status"; readonly id: number }
  | { readonly type: "dns-answer"; readonly id: number; readonly message?: Uint8Array };

export type FromWorker =
  | { readonly type: "ready"; readonly aead: string }
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
  | { readonly type: "event"; readonly event: DataPlaneEvent }
  | { readonly type: "log"; readonly message: string };
