/** Files of the repository, found from the sources and from dist/ alike. */
import { existsSync } from "node:fs";
import * as path from "node:path";

export const ROOT = (() => {
  let folder = __dirname;
  while (!existsSync(path.join(folder, "package-lock.json"))) folder = path.dirname(folder);
  return folder;
})();

/** Compiled programs of the harness. */
export const PROGRAMS = path.join(ROOT, "dist", "test", "support", "programs");

type PeersModule = typeof import("../../tools/peers.cjs");
export type PeerName = import("../../tools/peers.cjs").PeerName;

// A path of its own, for dist/ holds no tools.
export const { hasToolchain, peerPath, peers } = require(path.join(ROOT, "tools", "peers.cjs")) as PeersModule;
