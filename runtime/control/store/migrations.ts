/**
 * The schema, as the steps that lead to it. A step that was released is never changed; a new one is added at the end.
 *
 * Addresses are hexadecimal texts of fixed width (8 digits IPv4, 32 digits IPv6), so that their order is the order of addresses.
 * Each issuable address of a network is in exactly one of `leases`, `resting` and a row of `free_ranges`. `free_ranges` makes
 * "the lowest free" one look-up in an index, however many leases there are. The primary key of `leases` makes a double lease
 * impossible, whatever the code above it does.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    organization TEXT NOT NULL, project TEXT NOT NULL, stack TEXT NOT NULL, urn TEXT NOT NULL,
    spec TEXT NOT NULL,
    seed TEXT NOT NULL,
    created_at TEXT NOT NULL
  ) STRICT;

  CREATE TABLE hosts (
    id TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    port INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE members (
    id TEXT PRIMARY KEY,
    network_id TEXT NOT NULL REFERENCES networks (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('app', 'peer')),
    organization TEXT NOT NULL, project TEXT NOT NULL, stack TEXT NOT NULL, urn TEXT NOT NULL,
    spec TEXT NOT NULL,
    host_id TEXT REFERENCES hosts (id),
    created_at TEXT NOT NULL,
    UNIQUE (network_id, name)
  ) STRICT;

  CREATE TABLE leases (
    network_id TEXT NOT NULL REFERENCES networks (id),
    address TEXT NOT NULL,
    family INTEGER NOT NULL,
    member_id TEXT NOT NULL REFERENCES members (id),
    slot TEXT NOT NULL,
    PRIMARY KEY (network_id, address),
    UNIQUE (member_id, family, slot)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE resting (
    network_id TEXT NOT NULL REFERENCES networks (id),
    address TEXT NOT NULL,
    family INTEGER NOT NULL,
    organization TEXT NOT NULL, project TEXT NOT NULL, stack TEXT NOT NULL,
    name TEXT NOT NULL,
    slot TEXT NOT NULL,
    released_at INTEGER NOT NULL,
    PRIMARY KEY (network_id, address)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX resting_by_age ON resting (network_id, family, released_at, address);
  CREATE INDEX resting_by_name ON resting (network_id, name);

  CREATE TABLE free_ranges (
    network_id TEXT NOT NULL REFERENCES networks (id),
    family INTEGER NOT NULL,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    PRIMARY KEY (network_id, family, first)
  ) STRICT, WITHOUT ROWID;
  `,
  // Gateways have addresses of their own: leases that belong to a network and to no member, with the slot `gateway:REGION`.
  `
  CREATE TABLE leases_of_all (
    network_id TEXT NOT NULL REFERENCES networks (id),
    address TEXT NOT NULL,
    family INTEGER NOT NULL,
    member_id TEXT REFERENCES members (id),
    slot TEXT NOT NULL,
    PRIMARY KEY (network_id, address),
    UNIQUE (member_id, family, slot),
    CHECK ((member_id IS NULL) = (slot LIKE 'gateway:%'))
  ) STRICT, WITHOUT ROWID;
  INSERT INTO leases_of_all (network_id, address, family, member_id, slot)
    SELECT network_id, address, family, member_id, slot FROM leases;
  DROP TABLE leases;
  ALTER TABLE leases_of_all RENAME TO leases;
  CREATE UNIQUE INDEX leases_of_gateways ON leases (network_id, slot, family) WHERE member_id IS NULL;
  `,
];
