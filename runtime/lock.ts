/** One daemon per state folder: an exclusive SQLite lock, which the kernel releases however the holder ends. */

import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "libsql";

/** Milliseconds between tries while another daemon is on its way out. */
const POLL = 50;

export interface Lock {
  /** Lets go; `remove` takes the file away before that. */
  release(options?: { remove: boolean }): void;
}

/** Waits up to `waitMs` for the lock; undefined when another process keeps it. */
export async function takeLock(file: string, waitMs: number): Promise<Lock | undefined> {
  const end = Date.now() + waitMs;
  for (;;) {
    const lock = tryLock(file);
    if (lock || Date.now() >= end) return lock;
    await sleep(POLL);
  }
}

function tryLock(file: string): Lock | undefined {
  const db = new Database(file, { timeout: 0 });
  try {
    const inode = fs.statSync(file).ino;
    db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS holder (pid INTEGER)");
    // The last holder may have taken the file away meanwhile: a lock on that keeps nobody out.
    if (fs.statSync(file, { throwIfNoEntry: false })?.ino !== inode) {
      db.close();
      return undefined;
    }
    return {
      release: ({ remove } = { remove: false }) => {
        if (remove) fs.rmSync(file, { force: true });
        db.close();
      },
    };
  } catch (error) {
    db.close();
    if (/locked|busy/i.test((error as Error).message)) return undefined;
    throw error;
  }
}
