/** Lists in a sentence. */

/** Names told at most, beyond which only their number is. */
const NAMED = 4;

export function names(who: readonly string[]): string {
  return who.length <= NAMED + 1 ? list(who) : list([...who.slice(0, NAMED), `${who.length - NAMED} others`]);
}

export function list(parts: readonly string[]): string {
  if (parts.length <= 1) return parts.join("");
  return `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}
