/** SQLite with what the registry needs of it: immediate transactions, kept statements, and errors a person can act on. */
import * as fs from "node:fs";
import Sqlite from "libsql";
import { WarrenError } from "../../errors";
import { MIGRATIONS } from "./migrations";

/** Milliseconds that a writer waits for another process's transaction. */
const BUSY_TIMEOUT = 10_000;
/** Bytes up to which a file is checked whole when it is opened (a few milliseconds). */
const CHECK_LIMIT = 16 * 1024 * 1024;

export type Value = string | number | null;
export type Row = Record<string, Value>;

export class Database {
  readonly file: string;
  /** The schema's version when it was opened; 0 for a new file. */
  readonly openedVersion: number;
  private readonly db: Sqlite.Database;
  private readonly statements = new Map<string, Sqlite.Statement>();

  /**
   * Opens or makes the file (mode 0600) and brings its schema to this version.
   *
   * WAL, so that readers of other processes never wait; synchronous FULL, because an answered lease is already written into
   * Pulumi's state: were it lost with the machine's power, another member could be given the same address. One fsync per write
   * costs well under the price of a hook.
   * @throws WarrenError WARREN_STORAGE, WARREN_PERMISSION, WARREN_VERSION
   */
  constructor(file: string) {
    this.file = file;
    try {
      fs.closeSync(fs.openSync(file, "a", 0o600));
      this.db = new Sqlite(file, { timeout: BUSY_TIMEOUT });
    } catch (error) {
      throw storageError(error, file);
    }
    try {
      this.guard(() => {
        this.db.pragma("journal_mode = WAL");
        this.db.pragma("synchronous = FULL");
        this.db.pragma("foreign_keys = ON");
        this.check();
      });
      this.openedVersion = migrate(this);
    } catch (error) {
      this.db.close();
      throw error;
    }
  }

  run(sql: string, ...values: Value[]): number {
    return this.guard(() => this.statement(sql).run(...values).changes);
  }

  get<R extends Row = Row>(sql: string, ...values: Value[]): R | undefined {
    return this.guard(() => this.statement(sql).get(...values) as R | undefined);
  }

  all<R extends Row = Row>(sql: string, ...values: Value[]): R[] {
    return this.guard(() => this.statement(sql).all(...values) as R[]);
  }

  /** Several statements without values. */
  exec(sql: string): void {
    this.guard(() => this.db.exec(sql));
  }

  /** All or nothing: what `work` throws undoes it. Inside another transaction it is part of that one. */
  write<T>(work: () => T): T {
    if (this.db.inTransaction) return work();
    this.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some errors, a full disk among them.
      if (this.db.inTransaction) this.exec("ROLLBACK");
      throw error;
    }
  }

  /** One consistent picture over several statements. */
  read<T>(work: () => T): T {
    if (this.db.inTransaction) return work();
    this.exec("BEGIN");
    try {
      return work();
    } finally {
      if (this.db.inTransaction) this.exec("ROLLBACK");
    }
  }

  close(): void {
    this.statements.clear();
    try {
      this.db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // The log stays beside the file then, and the next to open it reads both.
    }
    this.db.close();
  }

  private statement(sql: string): Sqlite.Statement {
    let statement = this.statements.get(sql);
    if (!statement) {
      statement = this.db.prepare(sql);
      this.statements.set(sql, statement);
    }
    return statement;
  }

  private check(): void {
    if (fs.statSync(this.file).size > CHECK_LIMIT) return;
    const found = (this.db.prepare("PRAGMA quick_check(1)").get() as { quick_check: string }).quick_check;
    if (found !== "ok") throw Object.assign(new Error(found), { code: "SQLITE_CORRUPT" });
  }

  private guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(error, this.file);
    }
  }
}

/** Each migration runs once, all of them in one transaction; `user_version` counts those that ran. @returns how many had run */
function migrate(db: Database): number {
  const version = () => Number(db.get("PRAGMA user_version")?.user_version);
  if (version() > MIGRATIONS.length) throw newerSchema(db.file, version());
  if (version() === MIGRATIONS.length) return MIGRATIONS.length;
  return db.write(() => {
    // Another process may have been first.
    const from = version();
    if (from > MIGRATIONS.length) throw newerSchema(db.file, from);
    for (const migration of MIGRATIONS.slice(from)) db.exec(migration);
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    return from;
  });
}

function newerSchema(file: string, version: number): WarrenError {
  return new WarrenError(
    "WARREN_VERSION",
    `The registry ${file} has schema ${version}, this package knows up to ${MIGRATIONS.length}: update pulumi-warren to the version that wrote it.`,
  );
}

function storageError(error: unknown, file: string): unknown {
  if (WarrenError.is(error) || !(error instanceof Error)) return error;
  const code = (error as { code?: string }).code ?? "";
  const say = (message: string) => new WarrenError("WARREN_STORAGE", message, { cause: error });
  if (code.startsWith("SQLITE_FULL") || code === "ENOSPC")
    return say(
      `The registry ${file} cannot grow: the disk is full. Nothing was changed: free some space and run again.`,
    );
  if (code.startsWith("SQLITE_CORRUPT") || code.startsWith("SQLITE_NOTADB"))
    return say(
      `The registry ${file} is damaged (${error.message}): stop the daemon, move the file away together with its -wal and -shm files, and run \`pulumi up\`; it is rebuilt from Pulumi's state.`,
    );
  if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED"))
    return say(
      `The registry ${file} is held by another process for more than ${BUSY_TIMEOUT / 1000} s: find and end it.`,
    );
  if (code.startsWith("SQLITE_IOERR") || code.startsWith("SQLITE_READONLY") || code.startsWith("SQLITE_CANTOPEN"))
    return say(
      `The registry ${file} cannot be read or written (${error.message}): check the disk and the file's permissions.`,
    );
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new WarrenError(
      "WARREN_PERMISSION",
      `The registry ${file} cannot be opened (${error.message}): run as its owner, or set WARREN_HOME to a folder that this user may write.`,
      { path: "WARREN_HOME", cause: error },
    );
  if (error.message.startsWith("ConnectionFailed"))
    return say(`The registry ${file} cannot be opened (${error.message}).`);
  return error;
}
