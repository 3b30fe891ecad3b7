/** One daemon per state folder: an exclusive SQLite lock, which the kernel releases however the holder ends. */

import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "libsql";
import { WarrenError } from "./errors";

/** Milliseconds between tries while another daemon is on its way out. */
const POLL = 50;

export interface Lock {
  /** Lets go; `remove` takes the file away before that. */
  release(options?: { remove: boolean }): void;
}

/**
 * Waits up to `waitMs` for the lock; undefined when another process keeps it.
 * @param isKept Asked before each wait: true where the holder will keep it, so that waiting is of no use.
 * @throws WarrenError WARREN_STORAGE where the file cannot be made, for instance because the disk is full.
 */
export async function takeLock(
  file: string,
  waitMs: number,
  isKept: () => Promise<boolean> = async () => false,
): Promise<Lock | undefined> {
  const end = Date.now() + waitMs;
  for (;;) {
    const lock = tryLock(file);
    if (lock || Date.now() >= end || (await isKept())) return lock;
    await sleep(POLL);
  }
}

function tryLock(file: string): Lock | undefined {
  let db: Database.Database;
  try {
    makePrivate(file);
    db = new Database(file, { timeout: 0 });
  } catch (error) {
    throw unusable(file, error);
  }
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
    throw unusable(file, error);
  }
}

/** Whoever may read the file could hold a shared lock on it and so keep every daemon from starting. Its journal gets the same mode. */
function makePrivate(file: string): void {
  try {
    fs.closeSync(fs.openSync(file, "wx", 0o600));
  } catch (error) {
    // One that is there is not opened: closing it would give up a lock that this process has on it (fcntl(2)).
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function unusable(file: string, error: unknown): WarrenError {
  const { message } = error as Error;
  const remedy = /full/i.test(message) ? "free some space and run again" : "check the disk and the file's permissions";
  return new WarrenError("WARREN_STORAGE", `The lock ${file} cannot be taken (${message}): ${remedy}.`, {
    cause: error,
  });
}
