/** What a change of a network's range means for the network. */

import { type Layout, layout, type SpaceSpec } from "./layout";
import { formatCidr } from "./range";

/**
 * `same` | `grow` and `shrink`: in place, gateway and DNS stay where they are | `replace`: they would move, or a family comes or
 * goes, so every address changes.
 */
export type RangeChange = "same" | "grow" | "shrink" | "replace";

export function rangeChange(from: SpaceSpec | Layout, to: SpaceSpec | Layout): RangeChange {
  const a = laidOut(from).families;
  const b = laidOut(to).families;
  if (a.length !== b.length) return "replace";
  let change: RangeChange = "same";
  for (const [i, family] of a.entries()) {
    const old = family.range;
    const now = b[i].range;
    if (old.family !== now.family || old.first !== now.first) return "replace";
    if (now.prefix > old.prefix) change = "shrink";
    else if (now.prefix < old.prefix && change === "same") change = "grow";
  }
  return change;
}

/** `10.1.2.0/24` or `10.1.2.0/24 and fd00::/64`. */
export function describeRanges(net: Layout): string {
  return net.families.map((f) => formatCidr(f.range)).join(" and ");
}

function laidOut(value: SpaceSpec | Layout): Layout {
  return "families" in value ? value : layout(value);
}
