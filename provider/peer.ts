/** The entry that `__provider` in every state names: this path is a contract for ever. */
import { peer } from "./core/peer";
import { dynamicProvider } from "./dynamic";

export = dynamicProvider(peer);
