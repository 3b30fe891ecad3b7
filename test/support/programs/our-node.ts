/**
 * Our data plane as a program of its own, for namespaces that a test makes: JSON lines on standard input
 * (`{id, method: "apply" | "status", params}`), answers on standard output (`{id, result}` or `{id, error}`).
 * It ends when its input closes.
 */
import * as readline from "node:readline";
import type { DataPlaneConfig } from "../../../runtime/dataplane/config";
import { DataPlane } from "../../../runtime/dataplane/dataplane";

interface Request {
  readonly id: number;
  readonly method: "apply" | "status";
  readonly params?: DataPlaneConfig;
}

async function main(): Promise<void> {
  const dataPlane = await DataPlane.start({ log: (message) => console.error(message) });
  const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
  const serve = async ({ id, method, params }: Request) => {
    try {
      const result = method === "apply" ? await dataPlane.apply(params!) : await dataPlane.status();
      answer({ id, result });
    } catch (error) {
      answer({ id, error: (error as Error).stack ?? String(error) });
    }
  };
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => void serve(JSON.parse(line)));
  const end = async () => {
    await dataPlane.stop();
    process.exit(0);
  };
  lines.on("close", () => void end());
  process.on("SIGTERM", () => void end());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
