import * as readline from "node:readline";

interface Request {
  readonly id: number;
  readonly method: string;
  readonly params?: unknown;
}

/**
 * Serves a test over standard input and output: JSON lines `{id, method, params}`, answers `{id, result}` or `{id, error}`. Several may be
 * under way. At the end of the input, or at SIGTERM, `stop` is called and the process ends.
 */
export function serveLines(
  // biome-ignore lint/suspicious/noExplicitAny: the caller's types are those of the other end of the pipe
  methods: Readonly<Record<string, (params: any) => Promise<unknown>>>,
  stop: () => Promise<void>,
): void {
  const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
  const serve = async ({ id, method, params }: Request) => {
    try {
      answer({ id, result: await methods[method](params) });
    } catch (error) {
      answer({ id, error: (error as Error).stack ?? String(error) });
    }
  };
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => void serve(JSON.parse(line)));
  const end = async () => {
    await stop();
    process.exit(0);
  };
  lines.on("close", () => void end());
  process.on("SIGTERM", () => void end());
}
