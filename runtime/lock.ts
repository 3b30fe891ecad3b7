/** One daemon per state folder: an exclusive SQLite lock, which the kernel releases however the holder ends. */

import { setTimeout as sleep } from "node:timers/promises";
import Database from "libsql";

/** Milliseconds between tries while another daemon is on its way out. */
const POLL = 50;

export interface Lock {
  release(): void;
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
    db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS holder (pid INTEGER)");
    return { release: () => db.close() };
  } catch (error) {
    db.close();
    if (/locked|busy/i.test((error as Error).message)) return undefined;
    throw error;
  }
}
