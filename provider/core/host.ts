/** The behaviour behind Host: other machines need a control that they can reach, which this version does not have. */

import { WarrenError } from "../../runtime/errors";
import type { Crud, Props } from "./crud";

const SENTENCE =
  "Host is not supported yet: it needs a control that other machines can reach. Leave it out; apps then run on this machine, in whatever regions they name.";

const unsupported = async (): Promise<never> => {
  throw new WarrenError("WARREN_UNSUPPORTED", SENTENCE);
};

export const HOST_INPUTS = ["name", "region", "endpoint", "labels", "tags"] as const;

export const host: Crud = {
  check: async (_ctx, _olds, news: Props) => ({ inputs: news, failures: [{ property: "region", reason: SENTENCE }] }),
  diff: unsupported,
  create: unsupported,
  read: unsupported,
  update: unsupported,
  delete: unsupported,
};
