/** The registry: everything that should be, in one SQLite file. Each call is one transaction. */
import { WarrenError } from "../errors";
import { defaultCidr, layout, listView, type NetworkView, plan, rangeChange, wellKnown } from "../ipam";
import type {
  GatewayInfo,
  MemberRecord,
  NetworkRecord,
  Owner,
  PlanRequest,
  PutMember,
  PutNetwork,
  SlotAddress,
} from "./interface/types";
import { gatewayKeys } from "./keys";
import { deriveRegistryId } from "./registry-id";
import { AddressPool, type GatewayAddress, listGatewayAddresses } from "./store/address-pool";
import { Database } from "./store/database";
import { getHost, type HostRow, listHosts, setPort } from "./store/hosts";
import {
  addressesOf,
  completeTopLeases,
  deleteMember,
  listMembers,
  type MemberRow,
  memberById,
  putMember,
} from "./store/members";
import {
  deleteNetwork,
  listNetworks,
  type NetworkRow,
  needNetwork,
  networkById,
  networkByName,
  putNetwork,
  takenRanges,
} from "./store/networks";
import type { Scope } from "./store/scope";

export interface RegistryOptions {
  /** The file; its folder must exist. */
  readonly file: string;
  /** The state folder, from which a new registry's id follows. */
  readonly dir: string;
  /** Milliseconds since 1970. @default Date.now */
  readonly now?: () => number;
}

export class Registry {
  readonly id: string;
  readonly db: Database;
  private readonly scope: Scope;
  private readonly listeners = new Set<() => void>();

  /** @throws WarrenError WARREN_STORAGE, WARREN_PERMISSION, WARREN_VERSION */
  constructor(options: RegistryOptions) {
    this.db = new Database(options.file);
    try {
      this.id = this.readId(options.dir);
    } catch (error) {
      this.db.close();
      throw error;
    }
    this.scope = { db: this.db, registryId: this.id, now: options.now ?? Date.now };
    if (this.db.openedVersion === 1) this.change(() => completeTopLeases(this.scope));
  }

  /** Grows with each change of what should be. */
  get revision(): number {
    return Number(this.db.get("SELECT value FROM meta WHERE key = 'revision'")!.value);
  }

  get isEmpty(): boolean {
    return this.db.get("SELECT 1 AS one FROM networks LIMIT 1") === undefined;
  }

  /** Called after each change; returns the way to stop. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  plan(request: PlanRequest): SlotAddress[] {
    return this.db.read(() => plan(this.viewFor(request), request));
  }

  putNetwork(name: string, put: PutNetwork): NetworkRecord {
    return this.change(() => {
      const row = putNetwork(this.scope, name, put);
      return { ...this.networkRecord(row), seed: row.seed };
    });
  }

  deleteNetwork(id: string, owner: Owner): void {
    this.change(() => deleteNetwork(this.scope, id, owner));
  }

  putMember(network: string, name: string, put: PutMember): MemberRecord {
    return this.change(() => this.memberRecord(putMember(this.scope, network, name, put)));
  }

  deleteMember(id: string): void {
    this.change(() => deleteMember(this.scope, id));
  }

  networks(): NetworkRecord[] {
    return this.db.read(() => listNetworks(this.db).map((row) => this.networkRecord(row)));
  }

  /** @throws WarrenError WARREN_NOT_FOUND */
  network(idOrName: string): NetworkRecord {
    return this.db.read(() => this.networkRecord(needNetwork(this.db, idOrName)));
  }

  /** @param filter `network` is an id or a name */
  members(filter: { network?: string; kind?: string } = {}): MemberRecord[] {
    return this.db.read(() => {
      const networkId = filter.network === undefined ? undefined : needNetwork(this.db, filter.network).id;
      return listMembers(this.db, { networkId, kind: filter.kind }).map((row) => this.memberRecord(row));
    });
  }

  /** @throws WarrenError WARREN_NOT_FOUND */
  member(id: string): MemberRecord {
    return this.db.read(() => {
      const row = memberById(this.db, id);
      if (!row) throw new WarrenError("WARREN_NOT_FOUND", `There is no member ${id} here.`, { path: "id" });
      return this.memberRecord(row);
    });
  }

  /** The time past which the gateways no longer know this peer, where that is over. */
  expiredAt({ peer }: MemberRecord): string | undefined {
    const at = peer?.expiresAt;
    return at !== undefined && Date.parse(at) <= this.scope.now() ? at : undefined;
  }

  hosts(): HostRow[] {
    return listHosts(this.db);
  }

  host(id: string): HostRow | undefined {
    return getHost(this.db, id);
  }

  setPort(hostId: string, port: number): void {
    this.db.write(() => {
      if (setPort(this.db, hostId, port)) this.grow();
    });
    this.announce();
  }

  /** A new revision where time alone changed what should be. */
  touch(): void {
    this.change(() => undefined);
  }

  /** Sources that members refer to. */
  sourceHashes(): Set<string> {
    const rows = this.db.all(
      "SELECT DISTINCT json_extract(spec, '$.sourceHash') AS hash FROM members WHERE json_extract(spec, '$.sourceHash') IS NOT NULL",
    );
    return new Set(rows.map((row) => String(row.hash)));
  }

  /** Rows for the desired state, in one consistent picture. */
  snapshot(): Snapshot {
    return this.db.read(() => ({
      revision: this.revision,
      hosts: listHosts(this.db),
      networks: listNetworks(this.db),
      members: listMembers(this.db).map((row) => {
        const { own, service } = addressesOf(this.db, row);
        return { row, addresses: own, ...(service ? { service } : {}) };
      }),
      gateways: listGatewayAddresses(this.db),
    }));
  }

  close(): void {
    this.listeners.clear();
    this.db.close();
  }

  private change<T>(work: () => T): T {
    const result = this.db.write(() => {
      const value = work();
      this.grow();
      return value;
    });
    this.announce();
    return result;
  }

  private grow(): void {
    this.db.run("UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE key = 'revision'");
  }

  private announce(): void {
    for (const listener of this.listeners) listener();
  }

  private readId(dir: string): string {
    const read = () => this.db.get("SELECT value FROM meta WHERE key = 'registryId'");
    if (!read())
      this.db.write(() => {
        this.db.run("INSERT OR IGNORE INTO meta (key, value) VALUES ('registryId', ?)", deriveRegistryId(dir));
        this.db.run("INSERT OR IGNORE INTO meta (key, value) VALUES ('revision', '1')");
      });
    return String(read()!.value);
  }

  /**
   * The leases that count for a plan. A network that changes its range in place keeps them; one that must be replaced, or is not
   * there yet, starts empty.
   */
  private viewFor(request: PlanRequest): NetworkView {
    const { network: space, owner } = request;
    const row =
      (request.networkId === undefined ? undefined : networkById(this.db, request.networkId)) ??
      networkByName(this.db, space.name);
    const unset = space.cidr === undefined && space.ipv6Cidr === undefined;
    if (!row) {
      const cidr = unset ? defaultCidr(space.name, takenRanges(this.db, space.name)) : space.cidr;
      return listView(layout({ ...space, cidr }));
    }
    const now = layout(row.spec);
    const next = unset ? layout({ ...row.spec, reserved: space.reserved }) : layout(space);
    const change = rangeChange(now, next);
    if (change === "replace") return listView(next);
    const pool = new AddressPool(this.db, row.id, now, this.scope.now);
    const same = change === "same" && JSON.stringify(row.spec.reserved) === JSON.stringify(space.reserved);
    return same ? pool.view(owner) : listView(next, pool.list(owner));
  }

  private networkRecord(row: NetworkRow): NetworkRecord {
    const { gatewayIps, dnsIps } = wellKnown(layout(row.spec));
    return {
      id: row.id,
      registryId: this.id,
      owner: row.owner,
      spec: row.spec,
      gatewayIp: gatewayIps[0],
      dnsIp: dnsIps[0],
      gatewayIps,
      dnsIps,
      createdAt: row.createdAt,
    };
  }

  private memberRecord(row: MemberRow): MemberRecord {
    const network = needNetwork(this.db, row.networkId);
    const { own, service } = addressesOf(this.db, row);
    const record: MemberRecord = {
      id: row.id,
      registryId: this.id,
      networkId: network.id,
      networkName: network.name,
      owner: row.owner,
      name: row.name,
      kind: row.kind,
      addresses: own,
      createdAt: row.createdAt,
    };
    if (service) record.service = service;
    if (row.kind === "app") record.app = row.spec;
    else {
      record.peer = row.spec;
      if (row.spec.presharedKey !== undefined) record.hasPresharedKey = true;
      record.gateway = this.gatewayInfo(network, row.hostId);
    }
    return record;
  }

  private gatewayInfo(network: NetworkRow, hostId: string): GatewayInfo {
    const host = getHost(this.db, hostId)!;
    return {
      hostId,
      region: host.region,
      publicKey: gatewayKeys(network.seed, hostId).publicKey,
      endpoint: localEndpoint(host.port),
    };
  }
}

export interface MemberWithAddresses {
  readonly row: MemberRow;
  /** Of its own slots. */
  readonly addresses: SlotAddress[];
  readonly service?: SlotAddress;
}

export interface Snapshot {
  readonly revision: number;
  readonly hosts: readonly HostRow[];
  readonly networks: readonly NetworkRow[];
  readonly members: readonly MemberWithAddresses[];
  readonly gateways: readonly GatewayAddress[];
}

/** Where a host of the embedded default is reached: on this machine. */
export function localEndpoint(port: number): string {
  return `127.0.0.1:${port}`;
}
