/** Who a rule means: `*`, `NAME`, `app:NAME`, `peer:NAME`, `region:CODE`, `tag:KEY`, `tag:KEY=VALUE`. */
import type { Party } from "./network";

export type Selector =
  | { readonly kind: "all" }
  | { readonly kind: "member" | "app" | "peer"; readonly name: string }
  | { readonly kind: "region"; readonly region: string }
  | { readonly kind: "tag"; readonly key: string; readonly value?: string };

/** RFC 1035 label in lower case, as names of members and regions are. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** What is wrong with a selector's text, as the rest of a sentence; undefined where nothing is. */
export function selectorFault(text: string): string | undefined {
  const selector = read(text);
  return typeof selector === "string" ? selector : undefined;
}

/** @param text one that `selectorFault` finds nothing wrong with; any other selects nobody */
export function parseSelector(text: string): Selector | undefined {
  const selector = read(text);
  return typeof selector === "string" ? undefined : selector;
}

export function selects(selector: Selector, party: Party): boolean {
  switch (selector.kind) {
    case "all":
      return true;
    case "member":
      return party.name === selector.name;
    case "app":
    case "peer":
      return party.kind === selector.kind && party.name === selector.name;
    case "region":
      return party.region === selector.region;
    case "tag": {
      const has = Object.hasOwn(party.tags, selector.key);
      return has && (selector.value === undefined || party.tags[selector.key] === selector.value);
    }
  }
}

function read(text: string): Selector | string {
  if (text === "*") return { kind: "all" };
  const colon = text.indexOf(":");
  if (colon < 0) return LABEL.test(text) ? { kind: "member", name: text } : notAName("a member", text);
  const [kind, rest] = [text.slice(0, colon), text.slice(colon + 1)];
  switch (kind) {
    case "app":
    case "peer":
      return LABEL.test(rest) ? { kind, name: rest } : notAName(`${kind === "app" ? "an" : "a"} ${kind}`, rest);
    case "region":
      return LABEL.test(rest) ? { kind, region: rest } : notAName("a region", rest);
    case "tag": {
      const equals = rest.indexOf("=");
      const key = equals < 0 ? rest : rest.slice(0, equals);
      if (key === "") return "names no tag: write tag:KEY or tag:KEY=VALUE";
      return equals < 0 ? { kind, key } : { kind, key, value: rest.slice(equals + 1) };
    }
    default:
      return `begins with "${kind}:", which is no kind of selector: use *, NAME, app:NAME, peer:NAME, region:CODE, tag:KEY or tag:KEY=VALUE`;
  }
}

function notAName(what: string, text: string): string {
  return `names "${text}", which can be no name of ${what}: use lower-case letters, digits and inner hyphens, at most 63`;
}
