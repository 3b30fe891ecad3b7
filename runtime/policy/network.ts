/** What the policy needs to know of a network: who is in it, by name and not by address. */
import type { DesiredMember, DesiredNetwork } from "../control/interface/desired";
import type { AllowRule, Health, MemberRecord, NetworkSpec, PolicyRule } from "../control/interface/types";

export interface PolicyMember {
  readonly kind: "app" | "peer";
  readonly name: string;
  /** Of an app's instances, each once; of a peer that of its gateway, where that is known. */
  readonly regions: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
  /** In each region; 1 for a peer. */
  readonly instances: number;
  /** Of an app: the port that it listens on; 0: none. */
  readonly port?: number;
  /** Of an app: the port that its health is asked on, with TCP; absent: it is not asked. */
  readonly healthPort?: number;
  /** Of an app: who may connect; absent: everyone that the network's policy lets. */
  readonly allow?: readonly AllowRule[];
}

export interface PolicyNetwork {
  readonly name: string;
  /** Absent or empty: any region. */
  readonly regions?: readonly string[];
  readonly policy?: readonly PolicyRule[];
  readonly members: readonly PolicyMember[];
}

/** The smallest thing that a selector tells apart: a peer, or an app's instances in one region. */
export interface Party {
  readonly kind: "app" | "peer";
  readonly name: string;
  readonly region?: string;
  readonly tags: Readonly<Record<string, string>>;
}

export function partiesOf(member: PolicyMember): Party[] {
  const { kind, name, tags, regions } = member;
  if (regions.length === 0) return [{ kind, name, tags }];
  return regions.map((region) => ({ kind, name, region, tags }));
}

/** A network as control keeps it. */
export function networkOfRecords(spec: NetworkSpec, records: readonly MemberRecord[]): PolicyNetwork {
  const members = records.map(memberOfRecord);
  return {
    name: spec.name,
    regions: spec.regions,
    ...(spec.policy === undefined ? {} : { policy: spec.policy }),
    members,
  };
}

export function memberOfRecord(record: MemberRecord): PolicyMember {
  const { kind, name } = record;
  const { app } = record;
  if (app) return appMember(name, app.regions, app.instances, app);
  const region = record.gateway?.region ?? record.peer?.region;
  return { kind, name, regions: region === undefined ? [] : [region], tags: record.peer?.tags ?? {}, instances: 1 };
}

/** A network as an agent sees it. */
export function networkOfDesired(network: DesiredNetwork): PolicyNetwork {
  const { name, policy } = network;
  return { name, ...(policy === undefined ? {} : { policy }), members: network.members.map(memberOfDesired) };
}

export function memberOfDesired(member: DesiredMember): PolicyMember {
  if (member.kind === "app") {
    const regions = [...new Set(member.instances.map((instance) => instance.region))];
    return appMember(member.name, regions, member.spec.instances, member.spec);
  }
  const regions = member.region === undefined ? [] : [member.region];
  return { kind: "peer", name: member.name, regions, tags: member.tags ?? {}, instances: 1 };
}

function appMember(
  name: string,
  regions: readonly string[],
  instances: number,
  spec: NonNullable<MemberRecord["app"]>,
): PolicyMember {
  const { port, health, allow, tags } = spec;
  return {
    kind: "app",
    name,
    regions,
    tags,
    instances,
    port,
    ...healthPort(port, health),
    ...(allow === undefined ? {} : { allow }),
  };
}

/** @param health `type` absent: the default, a connection to the port where there is one */
export function healthPort(port: number, health: Partial<Pick<Health, "type" | "port">>): { healthPort?: number } {
  const asked = health.type === "none" ? 0 : (health.port ?? port);
  return asked === 0 ? {} : { healthPort: asked };
}
