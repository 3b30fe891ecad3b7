import { WarrenError } from "../errors";

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** It is part of marks and file names. @throws WarrenError WARREN_INVALID_INPUT */
export function requireSandboxId(id: string): void {
  if (!ID.test(id)) throw new WarrenError("WARREN_INVALID_INPUT", `"${id}" is no sandbox id.`, { path: "id" });
}
