/** Checks of a member's declaration that need no registry. */
import { WarrenError } from "../../errors";
import { parseCidr } from "../../ipam";
import { selectorFault } from "../../policy";
import type { AllowRule, AppSpec, PeerSpec, PutMember } from "../interface/types";
import { checkMemberName, checkRegion } from "../names";

/** Region and index of each address of the member's own: `ord/0`, `ord/1`, `iad/0`, …, or `peer`. */
export function slotsOf(put: { kind: "app"; app: AppSpec } | { kind: "peer" }): string[] {
  if (put.kind === "peer") return ["peer"];
  const { regions, instances } = put.app;
  return regions.flatMap((region) => Array.from({ length: instances }, (_, i) => `${region}/${i}`));
}

/** @throws WarrenError WARREN_INVALID_INPUT, WARREN_INVALID_RANGE */
export function checkMember(name: string, put: PutMember): void {
  checkMemberName(name, "name");
  if (put.name !== name) throw invalid("name", `the body names ${put.name}, the request ${name}`);
  if (put.kind === "app") checkApp(put.app);
  else checkPeer(put.peer);
}

function checkApp(app: AppSpec): void {
  app.regions.forEach((region, i) => {
    checkRegion(region, `regions[${i}]`);
    if (app.regions.indexOf(region) !== i) throw invalid(`regions[${i}]`, `${region} is named twice`);
  });
  if ((app.command === undefined) === (app.upstream === undefined))
    throw invalid("command", "give either a command, or an upstream that already runs");
  if (app.upstream !== undefined && !/^(\[[0-9a-fA-F:.]+\]|[^\s:/]+):([1-9]\d{0,4})$/.test(app.upstream))
    throw invalid("upstream", `"${app.upstream}" is not of the form host:port`);
  for (const [i, rule] of (app.allow ?? []).entries()) checkRule(rule, `allow[${i}]`);
  for (const key of Object.keys(app.env))
    if (key === "" || key.includes("=") || key.includes("\0"))
      throw invalid("env", `"${key}" is no name of a variable`);
}

/** @throws WarrenError WARREN_INVALID_INPUT */
export function checkRule(rule: AllowRule & { to?: string[] }, path: string): void {
  for (const key of ["from", "to"] as const)
    for (const [i, text] of (rule[key] ?? []).entries()) {
      const fault = selectorFault(text);
      if (fault) throw invalid(`${path}.${key}[${i}]`, `"${text}" ${fault}`);
    }
  for (const [i, [first, last]] of rule.ports.entries())
    if (first < 1 || last > 65_535 || first > last)
      throw invalid(`${path}.ports[${i}]`, `${first}-${last} is no span of ports`);
  if (rule.ports.length > 0 && rule.protocol !== "tcp" && rule.protocol !== "udp")
    throw invalid(`${path}.protocol`, `${rule.protocol} has no ports`);
}

function checkPeer(peer: PeerSpec): void {
  checkKey(peer.publicKey, "publicKey");
  if (peer.presharedKey !== undefined) checkKey(peer.presharedKey, "presharedKey");
  if (peer.region !== undefined) checkRegion(peer.region, "region");
  peer.routes.forEach((route, i) => {
    parseCidr(route, `routes[${i}]`);
  });
  if (peer.expiresAt !== undefined && Number.isNaN(Date.parse(peer.expiresAt)))
    throw invalid("expiresAt", `"${peer.expiresAt}" is not a time such as 2030-01-31T12:00:00Z`);
}

/** The key itself stays out of the message. */
function checkKey(text: string, path: string): void {
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== 32 || bytes.toString("base64") !== text)
    throw invalid(path, "it is not 32 bytes of base64, as `wg genkey` and `wg pubkey` print them");
}

function invalid(path: string, why: string): WarrenError {
  return new WarrenError("WARREN_INVALID_INPUT", `${path}: ${why}.`, { path });
}
