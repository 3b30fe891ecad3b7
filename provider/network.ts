/** The entry that `__provider` in every state names: this path is a contract for ever. */
import { network } from "./core/network";
import { dynamicProvider } from "./dynamic";

export = dynamicProvider(network);
