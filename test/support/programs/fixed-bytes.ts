import { createHash } from "node:crypto";
import { seededRandom } from "./random";

/** The same bytes on every call: what one side sends, the other can check. */
export function fixedBytes(size: number): Buffer {
  const random = seededRandom(size);
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = random() * 256;
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
