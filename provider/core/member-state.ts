/** How state and registry are compared for members: drift, refresh, deletion. */
import { isDeepStrictEqual } from "node:util";
import type { MemberRecord, NetworkRecord } from "../../runtime/control/interface/types";
import { WarrenError } from "../../runtime/errors";
import type { ControlClient } from "../client";
import type { HookContext, Props } from "./crud";
import { mainAddress } from "./member";
import { compact, found, refuseForeign, withControl, withPeek } from "./shared";

/** True where the registry does not hold what the state says, so that an update must make it again. */
export async function memberLacks(
  ctx: HookContext,
  id: string,
  olds: Props,
  same: (record: MemberRecord, control: ControlClient) => boolean | Promise<boolean>,
): Promise<boolean> {
  return withPeek(ctx, async (control) => {
    const record = control && (await found(control.member(id)));
    return (
      !record ||
      record.registryId !== olds.registryId ||
      !isDeepStrictEqual(record.addresses, olds.addresses) ||
      !isDeepStrictEqual(record.service, olds.service) ||
      !(await same(record, control))
    );
  });
}

/**
 * Refresh: what the registry says now. An empty or foreign registry knows nothing of this member, and the state stays; only its
 * own registry can say that it is gone. For `.get()`, whose state is empty, the id may also be NETWORK/NAME.
 *
 * @param facts what the registry says, for the stack that declares the member
 * @param shown the outputs that other stacks may have; environment, command and keys are the declaring stack's alone
 */
export async function readMember(
  ctx: HookContext,
  kind: "app" | "peer",
  id: string,
  props: Props,
  facts: (record: MemberRecord) => Props,
  shown: (record: MemberRecord, network: NetworkRecord) => Props,
): Promise<{ id: string; props: Props } | undefined> {
  return withPeek(ctx, async (control) => {
    const given = typeof props.registryId !== "string";
    const record = control && (given ? await look(control, kind, id) : await found(control.member(id)));
    if (given) {
      if (!record) throw notThere(kind, id);
      return { id: record.id, props: await foreign(control!, record, shown) };
    }
    const here = record?.registryId ?? (control && (await control.health()).registryId);
    if (here !== props.registryId) return { id, props };
    // Without its network the registry may be one that was lost and began anew, which says nothing of this member.
    if (!record) return (await found(control!.network(String(props.networkId)))) ? undefined : { id, props };
    // A refresh of what `.get()` read: only a stack that declares a member has an owner in its state.
    if (props.owner === undefined) return { id, props: await foreign(control!, record, shown) };
    return {
      id,
      props: compact({
        ...props,
        ...facts(record),
        addresses: record.addresses,
        service: record.service,
        networkId: record.networkId,
      }),
    };
  });
}

async function foreign(
  control: ControlClient,
  record: MemberRecord,
  shown: (record: MemberRecord, network: NetworkRecord) => Props,
): Promise<Props> {
  return compact({
    ...shown(record, await control.network(record.networkId)),
    name: record.name,
    network: record.networkName,
    networkId: record.networkId,
    addresses: record.addresses,
    privateIp: mainAddress(record.addresses[0]),
    registryId: record.registryId,
  });
}

async function look(control: ControlClient, kind: "app" | "peer", id: string): Promise<MemberRecord | undefined> {
  const direct = await found(control.member(id));
  if (direct) return direct.kind === kind ? direct : undefined;
  const slash = id.indexOf("/");
  const network = slash < 0 ? undefined : id.slice(0, slash);
  const name = id.slice(slash + 1);
  const all = (await found(control.members({ kind, ...(network === undefined ? {} : { network }) }))) ?? [];
  const named = all.filter((m) => m.name === name);
  if (named.length > 1)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${named.length} networks have a member "${name}": say which, as ${named.map((m) => `${m.networkName}/${name}`).join(" or ")}.`,
      { path: "id" },
    );
  // A listing leaves secrets out.
  return named[0] && found(control.member(named[0].id));
}

function notThere(kind: string, id: string): WarrenError {
  return new WarrenError(
    "WARREN_NOT_FOUND",
    `There is no ${kind} "${id}" in this registry: bring up the stack that declares it, or check the name ("warren peers").`,
    { path: "id" },
  );
}

export function deleteMember(kind: string): (ctx: HookContext, id: string, props: Props) => Promise<void> {
  return (ctx, id, props) =>
    withControl(ctx, async (control) => {
      await refuseForeign(ctx, control, kind, id, props);
      await control.deleteMember(id);
    });
}
