/** What can be said of an app's `allow` before its network is whole: who else is in it is known at the end of the program. */
import type { AllowRule, Health } from "../../runtime/control/interface/types";
import { checkPolicy, healthPort, type PolicyMember, parseSelector } from "../../runtime/policy";
import type { InputReader } from "./inputs";
import type { NetworkSpace } from "./network";
import { isUnknown, type Unknown } from "./unknown";

interface AppFacts {
  readonly name: string | Unknown | undefined;
  readonly port: number | Unknown;
  readonly health: Health | Unknown;
  readonly regions: readonly string[] | Unknown;
  readonly instances: number | Unknown;
}

/** Ports that the app does not listen on, regions that the network does not have, and members constructed before of another kind. */
export function refuseAllow(
  input: InputReader,
  allow: readonly AllowRule[],
  facts: AppFacts,
  space: NetworkSpace | Unknown | undefined,
  before: unknown,
): void {
  refusePorts(input, allow, facts);
  const regions = space === undefined || isUnknown(space) ? [] : space.regions;
  const kinds = kindsOf(before);
  for (const [i, rule] of allow.entries())
    for (const text of rule.from) {
      const selector = parseSelector(text);
      const refuse = (why: string) => input.fail(`allow[${i}].from`, `"${text}" names nobody: ${why}.`);
      if (selector?.kind === "region" && regions.length > 0 && !regions.includes(selector.region))
        refuse(`the network has the regions ${regions.join(", ")}`);
      if (selector?.kind !== "app" && selector?.kind !== "peer") continue;
      const kind = kinds.get(selector.name);
      if (kind !== undefined && kind !== selector.kind)
        refuse(`${selector.name} is ${kind === "app" ? "an app" : "a peer"}, write ${kind}:${selector.name}`);
    }
}

/** The policy's own check, of a network of this app and somebody else who may be anyone. */
function refusePorts(input: InputReader, allow: readonly AllowRule[], facts: AppFacts): void {
  const { name, port, health, regions, instances } = facts;
  if (typeof name !== "string" || isUnknown(port) || isUnknown(health)) return;
  if (isUnknown(regions) || isUnknown(instances)) return;
  const app: PolicyMember = {
    kind: "app",
    name,
    regions,
    tags: {},
    instances,
    port,
    ...healthPort(port, health),
    allow: allow.map((rule) => ({ ...rule, from: ["*"] })),
  };
  const anyone: PolicyMember = { kind: "peer", name: `${name}-others`, regions: [], tags: {}, instances: 1 };
  for (const { severity, path, message } of checkPolicy({ name: "", members: [app, anyone] }))
    if (severity === "error") input.fail(path, `${message[0].toUpperCase()}${message.slice(1)}`);
}

/** What was constructed before on this network, as far as it is known. */
function kindsOf(before: unknown): Map<string, "app" | "peer"> {
  const out = new Map<string, "app" | "peer">();
  if (!Array.isArray(before)) return out;
  for (const element of before as (Unknown | { name?: unknown; kind: "app" | "peer" })[])
    if (!isUnknown(element) && typeof element.name === "string") out.set(element.name, element.kind);
  return out;
}
