/** Chooses the fastest AEAD that this Node binary offers and that passes its self-test. */
import { WarrenError } from "../errors";
import type { Kernels, PacketMemory } from "../native/kernels";
import { FIRST_FREE_OFFSET, NativeMemory } from "../native/native-memory";
import { nodeAead } from "../wireguard/aead-node";
import type { Aead } from "../wireguard/types";
import { openEvp, openOpenssl } from "./aead-openssl";
import { selfTest } from "./aead-selftest";
import { openWasm } from "./aead-wasm";

export const AEAD_NAMES = ["openssl", "evp", "wasm", "node"] as const;
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

const isNative = (name: AeadName): boolean => name === "openssl" || name === "evp";

function make(name: AeadName, memory: PacketMemory | undefined, kernels: Kernels | undefined): Aead {
  const native = memory instanceof NativeMemory ? memory : undefined;
  if (isNative(name) && memory !== undefined && native === undefined)
    throw new Error("it is native code, and the data plane runs without");
  if (name === "openssl") return openOpenssl(native, native && kernels);
  if (name === "evp") return openEvp(native);
  if (name === "wasm") return openWasm(memory);
  return nodeAead;
}

function open(name: AeadName, memory: PacketMemory | undefined, kernels: Kernels | undefined): Aead {
  const aead = make(name, memory, kernels);
  selfTest(aead, memory === undefined ? new Uint8Array(4096) : scratchOf(memory));
  return aead;
}

/** A place of packets: the first one that callers may use. */
function scratchOf(memory: PacketMemory): Uint8Array {
  return memory.bytes.subarray(FIRST_FREE_OFFSET, FIRST_FREE_OFFSET + 4096);
}

/**
 * @param forced the value of WARREN_AEAD; undefined or empty: the best that works.
 * @param memory where packets will lie: 4 KiB of it are used for the self-test.
 * @param kernels on that memory.
 * @param log is told of each that would have been faster and does not work.
 * @throws WarrenError when the forced one is unknown or does not work here.
 */
export function selectAead(
  forced: string | undefined,
  memory?: PacketMemory,
  kernels?: Kernels,
  log: (message: string) => void = () => {},
): Aead {
  if (forced) {
    const name = parseAeadName(forced);
    try {
      return open(name, memory, kernels);
    } catch (cause) {
      throw new WarrenError(
        "WARREN_UNSUPPORTED",
        `WARREN_AEAD asks for "${name}", which does not work in this Node (${(cause as Error).message}): leave it unset.`,
        { path: "WARREN_AEAD", cause },
      );
    }
  }
  for (const name of AEAD_NAMES) {
    // That there is no native code was said already.
    if (isNative(name) && memory !== undefined && !(memory instanceof NativeMemory)) continue;
    try {
      return open(name, memory, kernels);
    } catch (cause) {
      if (name === "node") throw cause;
      log(`The AEAD "${name}" is passed over for a slower one: ${(cause as Error).message}`);
    }
  }
  return nodeAead;
}
