/** Hosts of the embedded default: one per region, all on this machine, made when a member first names the region. */
import type { Database } from "./database";

export interface HostRow {
  readonly id: string;
  readonly region: string;
  /** UDP port; 0 until the agent has bound one. */
  readonly port: number;
}

/** Where a member runs that names no region, on a network that names none. */
export const DEFAULT_REGION = "local";

export function hostId(region: string): string {
  return `host-${region}`;
}

export function ensureHost(db: Database, region: string): string {
  const id = hostId(region);
  db.run("INSERT INTO hosts (id, region, port) VALUES (?, ?, 0) ON CONFLICT (id) DO NOTHING", id, region);
  return id;
}

export function getHost(db: Database, id: string): HostRow | undefined {
  const row = db.get("SELECT id, region, port FROM hosts WHERE id = ?", id);
  return row && { id: String(row.id), region: String(row.region), port: Number(row.port) };
}

export function listHosts(db: Database): HostRow[] {
  return db
    .all("SELECT id, region, port FROM hosts ORDER BY id")
    .map((r) => ({ id: String(r.id), region: String(r.region), port: Number(r.port) }));
}

/** @returns whether it is another port than before */
export function setPort(db: Database, id: string, port: number): boolean {
  return db.run("UPDATE hosts SET port = ? WHERE id = ? AND port <> ?", port, id, port) > 0;
}

/**
 * A host stays while any network is there, used or not: its port stands in the config files of peers, which may be made again.
 */
export function forgetHostsOfEmptyRegistry(db: Database): void {
  db.run("DELETE FROM hosts WHERE NOT EXISTS (SELECT 1 FROM networks)");
}
