/** Chooses the fastest AEAD that this Node binary offers and that passes its self-test. */
import { WarrenError } from "../errors";
import type { NativeMemory } from "../native/packet-io";
import { nodeAead } from "../wireguard/aead-node";
import type { Aead } from "../wireguard/types";
import { openEvp, openOpenssl } from "./aead-openssl";
import { selfTest } from "./aead-selftest";

export const AEAD_NAMES = ["openssl", "evp", "node"] as const;
export type AeadName = (typeof AEAD_NAMES)[number];

/** @throws WarrenError WARREN_INVALID_INPUT for a name that is none of the choices. */
export function parseAeadName(name: string): AeadName {
  const known = AEAD_NAMES.find((n) => n === name);
  if (known === undefined)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `WARREN_AEAD is "${name}", but the choices are ${AEAD_NAMES.join(", ")}: set one of them, or leave it unset.`,
      { path: "WARREN_AEAD" },
    );
  return known;
}

function open(name: AeadName, memory: NativeMemory | undefined): Aead {
  const aead = name === "openssl" ? openOpenssl(memory) : name === "evp" ? openEvp(memory) : nodeAead;
  selfTest(aead, memory === undefined ? new Uint8Array(4096) : memory.bytes.subarray(memory.bytes.length - 4096));
  return aead;
}

/**
 * @param forced the value of WARREN_AEAD; undefined or empty: the best that works.
 * @param memory where packets lie; its last 4 KiB are used for the self-test.
 * @throws WarrenError when the forced one is unknown or does not work here.
 */
export function selectAead(forced: string | undefined, memory?: NativeMemory): Aead {
  if (forced) {
    const name = parseAeadName(forced);
    try {
      return open(name, memory);
    } catch (cause) {
      throw new WarrenError(
        "WARREN_UNSUPPORTED",
        `WARREN_AEAD asks for "${name}", which does not work in this Node (${(cause as Error).message}): leave it unset.`,
        { path: "WARREN_AEAD", cause },
      );
    }
  }
  for (const name of AEAD_NAMES) {
    try {
      return open(name, memory);
    } catch (cause) {
      if (name === "node") throw cause;
    }
  }
  return nodeAead;
}
