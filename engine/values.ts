import { isDeepStrictEqual } from "node:util";

/**
 * Property values as they travel between program, engine and provider: plain JSON, in which objects with the signature
 * key stand for what JSON has not (sdk/go/common/resource/properties.go of Pulumi).
 */
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
export type PropertyMap = { [key: string]: Value };

export const SIGNATURE_KEY = "4dabf18193072939515e22adb298388d";
export const SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270";
const RESOURCE_SIGNATURE = "5cf8f73096256a8f31e491e813e4eb8e";
const OUTPUT_SIGNATURE = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
const ASSET_SIGNATURE = "c44067f5952c0a294b673a41bacd8c17";
const ARCHIVE_SIGNATURE = "0def7320c3a5731c473e5ecbe6d01bc7";

/** Stands for a value that is known only after `up`; Node programs use this one for every type. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export function isObject(value: unknown): value is { [key: string]: Value } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function signatureOf(value: Value): unknown {
  return isObject(value) ? value[SIGNATURE_KEY] : undefined;
}

/** A value that must not be shown; at rest it has `ciphertext` in place of `value`. */
export type Secret = { [SIGNATURE_KEY]: typeof SECRET_SIGNATURE; value: Value; [key: string]: Value };

export function isSecret(value: Value): value is Secret {
  return signatureOf(value) === SECRET_SIGNATURE;
}

export function makeSecret(value: Value): Value {
  return isSecret(value) ? value : { [SIGNATURE_KEY]: SECRET_SIGNATURE, value };
}

function children(value: Value): Value[] {
  if (Array.isArray(value)) return value;
  return isObject(value) ? Object.values(value) : [];
}

export function containsSecret(value: Value): boolean {
  return isSecret(value) || children(value).some(containsSecret);
}

export function containsUnknown(value: Value): boolean {
  return value === UNKNOWN || children(value).some(containsUnknown);
}

/** The kind of asset that `value` contains, or undefined. */
export function findAsset(value: Value): "asset" | "archive" | undefined {
  const signature = signatureOf(value);
  if (signature === ASSET_SIGNATURE) return "asset";
  if (signature === ARCHIVE_SIGNATURE) return "archive";
  for (const child of children(value)) {
    const found = findAsset(child);
    if (found !== undefined) return found;
  }
  return undefined;
}

function mapChildren(value: Value, change: (child: Value) => Value): Value {
  if (Array.isArray(value)) return value.map(change);
  if (!isObject(value)) return value;
  const mapped: PropertyMap = {};
  for (const [key, child] of Object.entries(value)) if (child !== undefined) mapped[key] = change(child);
  return mapped;
}

/** `value` with every secret opened. */
export function revealSecrets(value: Value): Value {
  return isSecret(value) ? revealSecrets(value.value) : mapChildren(value, revealSecrets);
}

/**
 * What a dynamic provider understands: secrets opened, outputs as their value, a reference to a resource as its id (or
 * URN where it has none).
 */
export function toProvider(value: Value): Value {
  if (!isObject(value)) return mapChildren(value, toProvider);
  switch (value[SIGNATURE_KEY]) {
    case SECRET_SIGNATURE:
      return toProvider(value.value ?? null);
    case OUTPUT_SIGNATURE:
      return "value" in value ? toProvider(value.value) : UNKNOWN;
    case RESOURCE_SIGNATURE:
      return value.id === undefined ? value.urn : value.id === "" ? UNKNOWN : toProvider(value.id);
    default:
      return mapChildren(value, toProvider);
  }
}

export function mapToProvider(map: PropertyMap): PropertyMap {
  return toProvider(map) as PropertyMap;
}

/** Outputs of a program (`outputValue` objects) as the values and secrets that state can hold. */
export function flattenOutputs(value: Value): Value {
  if (signatureOf(value) === OUTPUT_SIGNATURE) {
    const { value: inner, secret } = value as PropertyMap;
    const plain = inner === undefined ? UNKNOWN : flattenOutputs(inner);
    return secret === true ? makeSecret(plain) : plain;
  }
  return mapChildren(value, flattenOutputs);
}

/**
 * Marks as secret each value of `results` whose namesake in `sources` is or holds a secret: a provider that is given
 * plain values gives plain values back.
 */
export function annotateSecrets(results: PropertyMap, sources: PropertyMap): PropertyMap {
  const annotated: PropertyMap = { ...results };
  for (const [key, source] of Object.entries(sources)) {
    const result = annotated[key];
    if (result === undefined || isSecret(result)) continue;
    if (isObject(result) && isObject(source) && signatureOf(source) === undefined) {
      annotated[key] = annotateSecrets(result, source);
    } else if (containsSecret(source)) {
      annotated[key] = makeSecret(result);
    }
  }
  return annotated;
}

/** Marks the named keys as secret. */
export function markSecrets(map: PropertyMap, keys: readonly string[]): PropertyMap {
  const marked: PropertyMap = { ...map };
  for (const key of keys) if (marked[key] !== undefined) marked[key] = makeSecret(marked[key]);
  return marked;
}

/** Equality that ignores whether a value is secret and treats a missing key like none at all. */
export function valuesEqual(left: Value | undefined, right: Value | undefined): boolean {
  return isDeepStrictEqual(
    left === undefined ? undefined : revealSecrets(left),
    right === undefined ? undefined : revealSecrets(right),
  );
}

/** Equality including secretness. */
export function sameMaps(left: PropertyMap, right: PropertyMap): boolean {
  return isDeepStrictEqual(left, right);
}

/** Top-level keys whose values differ, sorted; a value that is unknown on the right counts as different. */
export function changedKeys(left: PropertyMap, right: PropertyMap): string[] {
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  return [...keys].filter((key) => !valuesEqual(left[key], right[key])).sort();
}
