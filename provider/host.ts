/** The entry that `__provider` in every state names: this path is a contract for ever. */
import { host } from "./core/host";
import { dynamicProvider } from "./dynamic";

export = dynamicProvider(host);
