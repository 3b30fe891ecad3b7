/** All that a test makes, under one name, and its removal. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

type Cleanup = () => Promise<void> | void;

/**
 * A name (`wt<pid>x<random>`, at most 13 characters, so that a device name may have two more), a temporary folder, and a stack of
 * things to undo. The process id in the name lets tools/reap.mjs find what a killed run left behind.
 */
export class Scratch {
  readonly id = `wt${process.pid}x${randomBytes(2).toString("hex").slice(0, 3)}`;
  /** Mode 0711: apps under another account may reach what a test puts there for them. */
  readonly dir = path.join(os.tmpdir(), this.id);
  private readonly cleanups: Cleanup[] = [];
  private serial = 0;

  constructor() {
    fs.mkdirSync(this.dir, { mode: 0o711 });
    fs.chmodSync(this.dir, 0o711);
    this.defer(() => fs.rmSync(this.dir, { recursive: true, force: true, maxRetries: 3 }));
  }

  /** A fresh absolute path in the folder. */
  file(name: string): string {
    return path.join(this.dir, name);
  }

  /** A short unique name for a device. */
  device(): string {
    return `${this.id}${(this.serial++).toString(36)}`;
  }

  /** For every process that a test starts: the reaper knows them by it, even when they have detached. */
  get env(): Record<string, string> {
    return { WARREN_TEST_SCRATCH: this.id };
  }

  /** Undone in reverse order; one failure does not keep the others from being undone. */
  defer(cleanup: Cleanup): void {
    this.cleanups.push(cleanup);
  }

  /** @throws AggregateError when something could not be undone */
  async dispose(): Promise<void> {
    const failures: unknown[] = [];
    for (let cleanup = this.cleanups.pop(); cleanup !== undefined; cleanup = this.cleanups.pop()) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length) throw new AggregateError(failures, `cleaning up: ${failures.map(String).join("; ")}`);
  }
}

/** A scratch for the tests of a `describe` block or file, disposed after the last of them. */
export function useScratch(): Scratch {
  const scratch = new Scratch();
  afterAll(() => scratch.dispose(), 30_000);
  return scratch;
}
