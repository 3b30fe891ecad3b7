/** Every way out of a process that runs the data plane: its thread sits in poll and must never hold it up. */
import { spawn } from "node:child_process";
import * as path from "node:path";
import { describeNeeding } from "../../test/support/needs";

const BUILT = path.join(__dirname, "../../dist/runtime/dataplane/dataplane.js");

const ways: readonly [name: string, code: string, expected: number | NodeJS.Signals][] = [
  ["process.exit", "process.exit(3)", 3],
  ["an uncaught exception", "setImmediate(() => { throw new Error('boom') })", 1],
  ["an unhandled rejection", "Promise.reject(new Error('boom'))", 1],
  ["nothing left to do", "", 0],
  ["stop, then nothing left to do", "await plane.stop()", 0],
  ["stop twice", "await Promise.all([plane.stop(), plane.stop()])", 0],
  ["SIGTERM without a handler", "process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)", "SIGTERM"],
  [
    "SIGTERM with a handler",
    "process.on('SIGTERM', () => process.exit(4)); process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)",
    4,
  ],
  ["the thread terminated from outside", "await plane.threads[0].worker.terminate()", 0],
  ["a question in the air", "void plane.status(); process.exit(5)", 5],
  ["a diagnostic report", "if (!process.report.getReport().workers.length) process.exit(9); process.exit(6)", 6],
  ["process.abort", "process.abort()", "SIGABRT"],
];

describeNeeding(["linux"], "the end of a process with a data plane", () => {
  test.concurrent.each(ways)("%s", async (_name, code, expected) => {
    const program = `
      const { DataPlane } = require(${JSON.stringify(BUILT)});
      (async () => {
        const plane = await DataPlane.start({ log: () => {}, threads: 2 });
        await plane.apply({ ports: ["p", "q"].map((id) => ({ id, listen: ["127.0.0.1"], port: 0 })), gateways: [] });
        process.stdout.write("up");
        ${code}
      })();`;
    // An abort leaves no core file behind.
    const argv = ["-c", 'ulimit -c 0; exec "$0" -e "$1"', process.execPath, program];
    const child = spawn("/bin/sh", argv, { stdio: ["ignore", "pipe", "pipe"] });
    let up = false;
    let errors = "";
    child.stdout.on("data", () => {
      up = true;
    });
    child.stderr.on("data", (text) => {
      errors += text;
    });
    // A thread that hangs in its poll would hold the process for ever.
    const guard = setTimeout(() => child.kill("SIGKILL"), 15_000);
    const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      child.on("close", (a, b) => resolve([a, b]));
    });
    clearTimeout(guard);
    const mayComplain = expected === 1 || expected === "SIGABRT";
    expect([signal ?? status, up, mayComplain || errors === ""]).toEqual([expected, true, true]);
  });
});
