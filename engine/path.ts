import { isObject, isSecret, type PropertyMap, type Value } from "./values";

/** A property path such as `a.b[0]["c.d"]`; `*` matches any one element. */
export type PropertyPath = (string | number)[];

/** Undefined for text that is no path. */
export function parsePath(text: string): PropertyPath | undefined {
  const path: PropertyPath = [];
  let rest = text;
  while (rest !== "") {
    const match =
      /^\.?([^.[\]]+)/.exec(rest) ?? /^\[(\d+|\*)\]/.exec(rest) ?? /^\["((?:[^"\\]|\\.)*)"\]/.exec(rest) ?? undefined;
    if (match === undefined) return undefined;
    const quoted = match[0].startsWith('["');
    const bracket = match[0].startsWith("[") && !quoted;
    path.push(bracket && match[1] !== "*" ? Number(match[1]) : quoted ? match[1].replace(/\\(.)/g, "$1") : match[1]);
    rest = rest.slice(match[0].length);
  }
  return path;
}

/** True when `outer` names `inner` or something that holds it. */
export function pathContains(outer: PropertyPath, inner: PropertyPath): boolean {
  return outer.length <= inner.length && outer.every((part, i) => part === "*" || part === inner[i]);
}

function copy(value: Value): Value {
  return structuredClone(value);
}

function resetIn(path: PropertyPath, from: Value | undefined, into: Value | undefined): Value | undefined {
  if (path.length === 0) return from === undefined ? undefined : copy(from);
  if (into !== undefined && isSecret(into)) {
    const inner = resetIn(path, from !== undefined && isSecret(from) ? from.value : from, into.value);
    return { ...into, value: inner ?? null };
  }
  const source = from !== undefined && isSecret(from) ? from.value : from;
  const [head, ...tail] = path;
  if (Array.isArray(into)) {
    const old = Array.isArray(source) ? source : [];
    return into.map((item, i) => (head === "*" || head === i ? (resetIn(tail, old[i], item) ?? item) : item));
  }
  if (!isObject(into)) return into;
  const old = isObject(source) ? source : {};
  const keys = head === "*" ? [...new Set([...Object.keys(into), ...Object.keys(old)])] : [String(head)];
  const changed: PropertyMap = { ...into };
  for (const key of keys) {
    if (tail.length > 0 && changed[key] === undefined) continue;
    const value = resetIn(tail, old[key], changed[key]);
    if (value === undefined) delete changed[key];
    else changed[key] = value;
  }
  return changed;
}

/** `inputs` with the values at `paths` taken from `olds`, so that they show no change. Unreadable paths are skipped. */
export function ignoreChanges(inputs: PropertyMap, olds: PropertyMap, paths: readonly string[]): PropertyMap {
  let result = inputs;
  for (const text of paths) {
    const path = parsePath(text);
    if (path !== undefined && path.length > 0) result = resetIn(path, olds, result) as PropertyMap;
  }
  return result;
}
