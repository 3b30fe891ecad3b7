/** Request bodies: bounded, parsed, checked against the interface's schemas. */
import type { IncomingMessage } from "node:http";
import type { Static, TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { WarrenError } from "../../errors";

/** Bytes; the largest sensible declaration is far below it. */
const BODY_LIMIT = 4 * 1024 * 1024;

/** @throws WarrenError WARREN_INVALID_INPUT, its path within the body */
export async function readBody<S extends TSchema>(request: IncomingMessage, schema: S): Promise<Static<S>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > BODY_LIMIT) {
      throw new WarrenError("WARREN_INVALID_INPUT", `The body is larger than ${BODY_LIMIT} bytes.`, { path: "body" });
    }
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (cause) {
    // The parser's message may quote the body, and bodies hold keys.
    throw new WarrenError("WARREN_INVALID_INPUT", "The body is not JSON.", { path: "body", cause });
  }
  return checked(schema, value);
}

export function checked<S extends TSchema>(schema: S, value: unknown): Static<S> {
  if (Value.Check(schema, value)) return value;
  const { path, reason } = firstFault(schema, value);
  throw new WarrenError("WARREN_INVALID_INPUT", `${path}: ${reason}.`, { path });
}

/** In a union the variant whose `kind` matches says more than "no variant fits". */
function firstFault(schema: TSchema, value: unknown): { path: string; reason: string } {
  const kind = (value as { kind?: unknown } | null)?.kind;
  const variants = schema.anyOf as (TSchema & { properties?: { kind?: { const?: unknown } } })[] | undefined;
  const variant = variants?.find((v) => v.properties?.kind?.const === kind);
  const fault = Value.Errors(variant ?? schema, value).First();
  if (!variant && variants)
    return { path: "kind", reason: `must be one of ${variants.map((v) => v.properties?.kind?.const).join(", ")}` };
  const path = fault?.path.split("/").slice(1).join(".") || "body";
  const message = fault?.message ?? "does not fit";
  return { path, reason: message.charAt(0).toLowerCase() + message.slice(1) };
}
