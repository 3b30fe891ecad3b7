/** A Pulumi program of bench/programs on the embedded engine, with a state folder of its own. */
import * as http from "node:http";
import * as net from "node:net";
import * as path from "node:path";
import type { Entry, Status } from "../../runtime/control/interface/types";
import { type Home, home } from "../../runtime/home";
import { run } from "../../test/support/process";
import { ROOT } from "../../test/support/repo";
import type { Scratch } from "../../test/support/scratch";

export class Stack {
  readonly home: Home;
  readonly env: Record<string, string>;

  constructor(
    scratch: Scratch,
    readonly program: "tutorial" | "noop",
  ) {
    this.home = home(scratch.file(program));
    this.env = { ...scratch.env, WARREN_HOME: this.home.dir };
    scratch.defer(async () => {
      await this.warren("destroy", this.dir).catch(() => undefined);
      await this.warren("serve", "--stop").catch(() => undefined);
    });
  }

  get dir(): string {
    return path.join(ROOT, "bench", "programs", this.program);
  }

  async warren(...args: string[]): Promise<string> {
    const argv = [process.execPath, path.join(ROOT, "dist", "cli", "warren.js"), ...args];
    return (await run(argv, { env: this.env, timeout: 120_000 })).stdout;
  }

  /** Seconds that an operation of the engine takes, as a person waits for it. */
  async timed(operation: "up" | "destroy"): Promise<number> {
    const start = process.hrtime.bigint();
    await this.warren(operation, this.dir);
    return Number(process.hrtime.bigint() - start) / 1e9;
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.get("/v1/status"));
  }

  async entry(instance: string): Promise<Entry> {
    return JSON.parse(await this.get(`/v1/instances/${encodeURIComponent(instance)}/entry`));
  }

  private get(url: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const request = http.get({ socketPath: this.home.controlSocket, path: url, timeout: 5000 }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part) => {
          text += part;
        });
        response.on("end", () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`${url}: ${text}`))));
      });
      request.on("timeout", () => request.destroy(new Error(`${url}: no answer within 5 s`)));
      request.on("error", reject);
    });
  }

  keeperPid(): Promise<number> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.home.keeperSocket);
      socket.setEncoding("utf8");
      let text = "";
      socket.on("data", (part) => {
        text += part;
        if (!text.includes("\n")) return;
        socket.destroy();
        resolve(JSON.parse(text).result.pid);
      });
      socket.on("error", reject);
      socket.write(`${JSON.stringify({ id: 1, method: "hello", params: { version: "0.0.0" } })}\n`);
    });
  }
}
