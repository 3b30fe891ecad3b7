/** Names and ids. */
import { randomBytes } from "node:crypto";
import { WarrenError } from "../errors";
import { domainFault, memberNameFault, regionFault } from "./interface/names";

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** A lower-case DNS label (RFC 1123). @throws WarrenError WARREN_INVALID_INPUT */
export function checkLabel(text: string, path: string): void {
  if (!LABEL.test(text))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${path}: "${text}" is not a DNS label: use 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end.`,
      { path },
    );
}

/** Labels with dots between. @throws WarrenError WARREN_INVALID_INPUT */
export function checkDomain(text: string, path: string): void {
  if (text.length > 253 || !text.split(".").every((label) => LABEL.test(label)))
    throw new WarrenError("WARREN_INVALID_INPUT", `${path}: "${text}" is not a lower-case domain name.`, { path });
  refuse(domainFault(text), text, path);
}

/** @throws WarrenError WARREN_INVALID_INPUT */
export function checkRegion(text: string, path: string): void {
  checkLabel(text, path);
  refuse(regionFault(text), text, path);
}

/** @throws WarrenError WARREN_INVALID_INPUT */
export function checkMemberName(text: string, path: string): void {
  checkLabel(text, path);
  refuse(memberNameFault(text), text, path);
}

function refuse(fault: string | undefined, text: string, path: string): void {
  if (fault) throw new WarrenError("WARREN_INVALID_INPUT", `${path}: "${text}" ${fault}.`, { path });
}

export function newId(kind: "net" | "mem"): string {
  return `${kind}_${randomBytes(10).toString("hex")}`;
}
