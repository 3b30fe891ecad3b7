/** What stands before a command that shall have less than the machine gives: all of it for root to say, in this order. */
import * as path from "node:path";
import { ROOT } from "./repo";

/** Hides folders of the machine under empty ones, from this command only. */
const hiding = (...folders: string[]) => [
  ...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
  `for folder in ${folders.join(" ")}; do PATH=/usr/bin:/bin mount -t tmpfs none "$folder" || exit 1; done; exec "$@"`,
  "sh",
];

export const WITHOUT_TUN = hiding("/dev/net");

/** An installation without optional packages. */
export const WITHOUT_KOFFI = hiding(path.join(ROOT, "node_modules", "koffi"));

export const NOBODY = 65534;
/** As an account without any privilege. */
export const AS_NOBODY = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
/** Programs with file capabilities get none either. */
export const WITHOUT_CAPABILITIES = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all"];

/** A container that is locked down: the account nobody, no capabilities, no TUN device, no native calls. */
export const WITH_NOTHING = [...WITHOUT_TUN, ...WITHOUT_KOFFI, ...AS_NOBODY, ...WITHOUT_CAPABILITIES];
