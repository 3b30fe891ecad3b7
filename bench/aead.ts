/** ChaCha20-Poly1305 in each of the ways that there are here, packet by packet, on memory as the data plane has it. No other program takes part. */

import { PAGES, RECEPTIONS_START } from "../runtime/dataplane/buffers";
import { AEAD_NAMES, type AeadName, selectAead } from "../runtime/dataplane/select-aead";
import { loadKernels } from "../runtime/native/kernels";
import { NativeMemory } from "../runtime/native/native-memory";
import { PlainMemory } from "../runtime/native/plain-memory";
import type { AeadKey } from "../runtime/wireguard/types";
import { type Bench, type Compared, type Figure, ROUNDS } from "./lib/figure";

/** Bytes of a packet as large as a tunnel with an MTU of 1420 gets from TCP, padded; and of an acknowledgement. */
const SIZES = [1424, 64];
const PACKETS = 64;
const STRIDE = 2048;
/** Passes over all the packets in a round. */
const PASSES = 300;
const TAG = 16;

interface Cost {
  readonly seal: number;
  readonly open: number;
}

type Measured = { readonly costs: ReadonlyMap<number, Cost[]> } | { readonly skipped: string };

export const bench: Bench = {
  unavailable: () => undefined,

  async run(log) {
    const measured = new Map<AeadName, Measured>();
    const ready = new Map<AeadName, { readonly key: AeadKey; readonly bytes: Uint8Array }>();
    for (const name of AEAD_NAMES)
      try {
        const memory = name === "openssl" || name === "evp" ? new NativeMemory(PAGES) : new PlainMemory(PAGES);
        const key = selectAead(name, memory, loadKernels(memory)).open(new Uint8Array(32).fill(7));
        ready.set(name, { key, bytes: memory.bytes });
        measured.set(name, { costs: new Map(SIZES.map((size) => [size, []])) });
      } catch (error) {
        measured.set(name, { skipped: (error as Error).message });
      }
    for (let round = 0; round <= ROUNDS; round++)
      for (const [name, { key, bytes }] of ready) {
        const result = measured.get(name)!;
        for (const size of SIZES) {
          const cost = measure(key, bytes, size);
          // The first round is for the compiler.
          if (round > 0 && "costs" in result) result.costs.get(size)!.push(cost);
        }
        if (round === ROUNDS) log(`${name} done`);
      }
    return SIZES.flatMap((size) =>
      (["seal", "open"] as const).map((what): Figure => {
        const all = [...measured].map(([name, result]): Compared => {
          if ("skipped" in result) return { name, values: [], skipped: result.skipped };
          return { name, values: result.costs.get(size)!.map((cost) => cost[what]) };
        });
        const [first, ...other] = all.filter(({ values }) => values.length > 0);
        const skipped = all.filter(({ values }) => values.length === 0);
        return {
          what: `${what} ${size} bytes with ${first!.name}`,
          unit: "ns",
          ours: first!.values,
          other: [...other, ...skipped],
          note: `the first that works here of ${AEAD_NAMES.join(", ")}; ${PACKETS * PASSES} packets a round`,
        };
      }),
    );
  },
};

/** Nanoseconds for a packet. */
function measure(key: AeadKey, bytes: Uint8Array, size: number): Cost {
  let seal = 0n;
  let open = 0n;
  for (let pass = 0; pass < PASSES; pass++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < PACKETS; i++) key.seal(bytes, RECEPTIONS_START + i * STRIDE, size, i, pass);
    const sealed = process.hrtime.bigint();
    let genuine = true;
    for (let i = 0; i < PACKETS; i++)
      genuine = key.unseal(bytes, RECEPTIONS_START + i * STRIDE, size + TAG, i, pass) && genuine;
    open += process.hrtime.bigint() - sealed;
    seal += sealed - start;
    if (!genuine) throw new Error("a packet was taken for forged");
  }
  return { seal: Number(seal) / (PACKETS * PASSES), open: Number(open) / (PACKETS * PASSES) };
}
