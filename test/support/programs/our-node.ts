/** Our data plane as a program of its own, for namespaces that a test makes: `apply` and `status` as methods of serve-lines.ts. */
import { DataPlane } from "../../../runtime/dataplane/dataplane";
import { serveLines } from "./serve-lines";

async function main(): Promise<void> {
  const dataPlane = await DataPlane.start({ log: (message) => console.error(message) });
  serveLines({ apply: (config) => dataPlane.apply(config), status: () => dataPlane.status() }, () => dataPlane.stop());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
