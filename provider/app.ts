/** The entry that `__provider` in every state names: this path is a contract for ever. */
import { app } from "./core/app";
import { dynamicProvider } from "./dynamic";

export = dynamicProvider(app);
