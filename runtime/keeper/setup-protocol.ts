/** What keeper and set-up program say to each other: the order is JSON on standard input, the answer one message on descriptor 3. */
import type { EtcFiles } from "./etc";

export interface SetupOrder {
  /** Source name of the sandbox's mounts: by it its processes are known, also to a later keeper. */
  readonly mark: string;
  readonly device: string;
  readonly vnetHeader: boolean;
  readonly files: EtcFiles;
  /** Folders of the daemon's and the keeper's own: apps find them empty, but for the folders in them that are not `privateNames`. */
  readonly privateFolders: readonly string[];
  readonly privateNames: readonly string[];
  /** Folders in them that apps may read only. */
  readonly readOnlyNames: readonly string[];
}

export interface SetupAnswer {
  /** Interface index of the device. */
  readonly index: number;
  readonly flags: number;
}

/** In `flags`: the kernel has IPv6. */
export const ADDRESSES_V6 = 1;

/** The descriptors that come with the answer, in this order. */
export const DESCRIPTORS = ["tun", "probe4", "probe6", "netlink", "etc", "net", "mnt", "user"] as const;
export type Descriptors = Record<(typeof DESCRIPTORS)[number], number>;
