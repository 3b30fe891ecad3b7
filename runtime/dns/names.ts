/** The names of a network, spelled as Fly spells those of its `.internal`, and what each of them has. */
import {
  addressRecords,
  type Entry,
  nameRecord,
  type RecordSet,
  Records,
  serviceRecords,
  startOfAuthority,
  TYPE,
  textRecord,
} from "./records";
import { comparable, ReverseRanges } from "./reverse";
import type { ZoneApp, ZoneInstance, ZoneView } from "./zone";

export interface Found {
  /** Undefined: there is no such name. Empty: it exists, with nothing or for the names below it. */
  readonly records: Records | undefined;
  /** Labels of the name where our authority begins. */
  readonly apex: number;
  /** True: another asker, or the same one later, may be told something else, although the names and health did not change. */
  readonly varies?: boolean;
}

/** How far a host is from the asker's; lower is nearer. */
export type Distance = (hostId: string) => number;

const ROOT = "\0";
const NOTHING = new Records([]);
/** The top-level name of service addresses. */
export const SERVICES = "flycast";
/** Names that were asked for, kept with what they have. */
const MOST_KEPT = 65_536;
/** Bytes of a list, which must go into one message with all that is around it; the entries that do not fit are left out. */
const LONGEST_TEXT = 64_000;
/** Names between an app's and those that mean something. */
const BETWEEN = new Set(["all", "vm", "of", "nearest.of", "process", "_metadata", "kv._metadata"]);

export class Names {
  /** The same for every name, but where the authority begins. */
  readonly soa: RecordSet;
  readonly domain: readonly string[];
  /** The domain as it ends a key. */
  private readonly suffix: string;
  private readonly apps: ReadonlyMap<string, ZoneApp>;
  private readonly peers: ReadonlyMap<string, readonly string[]>;
  private readonly reverse: ReverseRanges;
  private readonly regions: ReadonlySet<string>;
  private readonly kept = new Map<string, Found>();
  private addresses: ReadonlyMap<string, string> | undefined;
  private healthy: ReadonlySet<string> = new Set();

  constructor(private readonly view: ZoneView) {
    this.domain = view.domain.toLowerCase().split(".");
    this.suffix = this.domain.map((label) => String.fromCharCode(label.length) + label).join("") + ROOT;
    this.soa = startOfAuthority(view.domain, view.serial);
    this.apps = new Map(view.apps.map((app) => [app.name.toLowerCase(), app]));
    this.peers = new Map(view.peers.map((peer) => [peer.name.toLowerCase(), peer.addresses]));
    this.reverse = new ReverseRanges(view.ranges);
    const instances = view.apps.flatMap((app) => app.instances);
    this.regions = new Set([...view.regions, ...instances.map(({ region }) => region)]);
  }

  /** @param healthy ids of instances */
  setHealthy(healthy: ReadonlySet<string>): void {
    this.healthy = healthy;
    this.kept.clear();
  }

  /**
   * @param key the name as in a message, its letters in lower case: lengths and labels, up to the root
   * @returns undefined where others must be asked
   */
  find(key: string, distance: Distance): Found | undefined {
    const kept = this.kept.get(key);
    if (kept) return kept;
    const labels = labelsOf(key);
    if (labels.length > this.domain.length) {
      const nearest = this.nearest(labels, distance);
      if (nearest) return nearest;
    }
    const found = this.look(labels);
    // Names that do not exist are without number.
    if (found?.records && this.kept.size < MOST_KEPT) this.kept.set(key, found);
    return found;
  }

  /**
   * True for a name that is one of ours with the domain behind it: a resolver that goes through its search list asks for `web` last and
   * for `iad.web` first (resolv.conf(5), ndots:1). Also for an app in a region where it has no instance now.
   */
  isOursInDomain(key: string): boolean {
    if (key === ROOT) return false;
    if (this.find(key.slice(0, -1) + this.suffix, () => 0)?.records !== undefined) return true;
    const [region, app, ...more] = labelsOf(key);
    return more.length === 0 && this.apps.has(app ?? "") && this.regions.has(region!);
  }

  private look(labels: readonly string[]): Found | undefined {
    const { domain } = this;
    if (endsWith(labels, domain)) return { records: this.inside(labels.slice(0, -domain.length)), apex: domain.length };
    if (labels[labels.length - 1] === SERVICES) return { records: this.service(labels.slice(0, -1)), apex: 1 };
    const reverse = this.reverse.find(labels);
    if (!reverse) return undefined;
    const { address, apex } = reverse;
    if (address === undefined) return { apex, records: labels.length === apex ? this.apex() : NOTHING };
    const name = this.nameOf(address);
    return { apex, records: name === undefined ? undefined : new Records([nameRecord("PTR", name)]) };
  }

  private apex(): Records {
    return new Records([[TYPE.SOA, this.soa], nameRecord("NS", `_dns.${this.view.domain}`)]);
  }

  /** @param labels without those of the domain */
  private inside(labels: readonly string[]): Records | undefined {
    const { view } = this;
    const last = labels[labels.length - 1];
    if (last === undefined) return this.apex();
    const below = labels.slice(0, -1).join(".");
    if (below === "") {
      if (last === "_dns") return new Records(addressRecords(view.dnsIps, false));
      if (last === "_gateway") return new Records(addressRecords(view.gatewayIps, false));
      if (last === "_apps") return list(view.apps.map((app) => app.name));
      if (last === "_peer") return list(view.peers.map((peer) => peer.name));
    }
    if (last === "_gateway") {
      const own = view.gateways.filter(({ region }) => region === below).flatMap(({ addresses }) => addresses);
      return own.length > 0 ? new Records(addressRecords(own, false)) : undefined;
    }
    if (last === "_peer") {
      const addresses = this.peers.get(below);
      return addresses && new Records(addressRecords(addresses, false));
    }
    if (last === "_instances") {
      if (below === "") return this.everywhere((app) => this.chosen(app.instances));
      return below === "all" ? this.everywhere((app) => app.instances) : undefined;
    }
    const app = this.apps.get(last);
    return app && this.ofApp(app, below);
  }

  /** @param below what stands before the app's name */
  private ofApp(app: ZoneApp, below: string): Records | undefined {
    const { instances } = app;
    if (below === "" || below === "global" || below === "app.process") return this.instances(app, instances);
    if (below === "vms") return machines(this.chosen(instances));
    if (below === "all.vms") return machines(instances);
    if (below === "regions") return list(regionsOf(this.chosen(instances)));
    if (below === "all.regions") return list(regionsOf(instances));
    if (below.endsWith(".vm")) return this.instance(app, below.slice(0, -".vm".length));
    if (below.endsWith(".kv._metadata")) return this.tagged(app, below.slice(0, -".kv._metadata".length));
    if (BETWEEN.has(below)) return NOTHING;
    if (app.port !== 0) {
      if (below === "_tcp" || below === "_udp") return NOTHING;
      if (below === "_http._tcp" || below === `_${app.port}._tcp` || below === `_${app.port}._udp`)
        return new Records([this.services(app, this.chosen(instances))]);
    }
    const there = instances.filter((instance) => instance.region === below);
    return there.length > 0 ? this.instances(app, there) : undefined;
  }

  /** `topN.nearest.of.APP`: the nearest of the instances that APP has, nearest first. */
  private nearest(labels: readonly string[], distance: Distance): Found | undefined {
    if (labels.length !== this.domain.length + 4 || labels[1] !== "nearest" || labels[2] !== "of") return undefined;
    const top = /^top([1-9]\d{0,4})$/.exec(labels[0]!);
    const app = this.apps.get(labels[3]!);
    if (!top || !app || !endsWith(labels, this.domain)) return undefined;
    const nearest = this.chosen(app.instances)
      .map((instance, order) => ({ instance, order, distance: distance(instance.hostId) }))
      .sort((a, b) => compare(a.distance, b.distance) || a.order - b.order)
      .slice(0, Number(top[1]))
      .map(({ instance }) => instance);
    return { records: this.addressed(app, nearest, false), apex: this.domain.length, varies: true };
  }

  private instance(app: ZoneApp, machine: string): Records | undefined {
    const one = app.instances.find((instance) => instance.machine === machine);
    return one && this.addressed(app, [one], false);
  }

  /** @param tag `VALUE.KEY` or `KEY` */
  private tagged(app: ZoneApp, tag: string): Records | undefined {
    for (const [key, value] of Object.entries(app.tags)) {
      if (tag === `${value}.${key}`.toLowerCase()) return this.instances(app, app.instances);
      if (tag === key.toLowerCase()) return NOTHING;
    }
    return undefined;
  }

  private instances(app: ZoneApp, instances: readonly ZoneInstance[]): Records {
    return this.addressed(app, this.chosen(instances), true);
  }

  private addressed(app: ZoneApp, chosen: readonly ZoneInstance[], turns: boolean): Records {
    const addresses = addressRecords(
      chosen.flatMap((instance) => instance.addresses),
      turns,
    );
    return new Records(app.port === 0 ? addresses : [...addresses, this.services(app, chosen)]);
  }

  private services(app: ZoneApp, chosen: readonly ZoneInstance[]): Entry {
    const service = ({ machine, addresses }: ZoneInstance) => ({
      target: this.machineName(app, machine),
      port: app.port,
      addresses,
    });
    return [TYPE.SRV, () => serviceRecords(chosen.map(service))];
  }

  private machineName(app: ZoneApp, machine: string): string {
    return `${machine}.vm.${app.name}.${this.view.domain}`;
  }

  /** The healthy ones; all, where none is: an answer that may work is better than none. */
  private chosen(instances: readonly ZoneInstance[]): readonly ZoneInstance[] {
    const healthy = instances.filter((instance) => this.healthy.has(instance.id));
    return healthy.length > 0 ? healthy : instances;
  }

  private everywhere(of: (app: ZoneApp) => readonly ZoneInstance[]): Records {
    const entries = this.view.apps.flatMap((app) =>
      of(app).map(
        ({ machine, region, addresses }) => `instance=${machine},app=${app.name},ip=${addresses[0]},region=${region}`,
      ),
    );
    return list(entries, ";");
  }

  private service(labels: readonly string[]): Records | undefined {
    if (labels.length === 0) return this.apex();
    const app = labels.length === 1 ? this.apps.get(labels[0]!) : undefined;
    return app && app.service.length > 0 ? new Records(addressRecords(app.service, false)) : undefined;
  }

  /** The one name that leads back to this address and no other. */
  private nameOf(address: string): string | undefined {
    const { view } = this;
    this.addresses ??= new Map([
      ...view.gatewayIps.map((ip) => [comparable(ip), `_gateway.${view.domain}`] as const),
      ...view.dnsIps.map((ip) => [comparable(ip), `_dns.${view.domain}`] as const),
      ...view.gateways.flatMap(({ region, addresses }) =>
        addresses.map((ip) => [comparable(ip), `${region}._gateway.${view.domain}`] as const),
      ),
      ...view.peers.flatMap(({ name, addresses }) =>
        addresses.map((ip) => [comparable(ip), `${name}._peer.${view.domain}`] as const),
      ),
      ...view.apps.flatMap((app) => [
        ...app.service.map((ip) => [comparable(ip), `${app.name}.${SERVICES}`] as const),
        ...app.instances.flatMap(({ machine, addresses }) =>
          addresses.map((ip) => [comparable(ip), this.machineName(app, machine)] as const),
        ),
      ]),
    ]);
    return this.addresses.get(address);
  }
}

export function labelsOf(key: string): string[] {
  const labels: string[] = [];
  for (let at = 0; ; ) {
    const length = key.charCodeAt(at);
    if (!(length > 0)) return labels;
    labels.push(key.slice(at + 1, at + 1 + length));
    at += 1 + length;
  }
}

function endsWith(labels: readonly string[], suffix: readonly string[]): boolean {
  const from = labels.length - suffix.length;
  return from >= 0 && suffix.every((label, i) => labels[from + i] === label);
}

function regionsOf(instances: readonly ZoneInstance[]): string[] {
  return [...new Set(instances.map((instance) => instance.region))];
}

function machines(instances: readonly ZoneInstance[]): Records {
  return list(instances.map(({ machine, region }) => `${machine} ${region}`));
}

function list(entries: readonly string[], separator = ","): Records {
  let fits = 0;
  for (let bytes = 0; fits < entries.length; fits++) {
    bytes += entries[fits]!.length + separator.length;
    if (bytes > LONGEST_TEXT) break;
  }
  return fits > 0 ? new Records([textRecord(entries.slice(0, fits).join(separator))]) : NOTHING;
}

/** Also of two infinite distances. */
function compare(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
