/** A million leases in the registry on disk: what one costs, and whether that grows with their number. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Registry } from "../runtime/control";
import type { AppSpec, Owner, PutMember } from "../runtime/control/interface/types";
import { type Bench, median } from "./lib/figure";

const LEASES = 1_000_000;
/** Instances, and so leases, of one member: written in one transaction. */
const BATCH = 1_000;
/** Members of one lease each, every one in a transaction of its own. */
const SINGLES = 1_000;

const owner: Owner = { organization: "bench", project: "bench", stack: "bench", urn: "urn:bench" };
const spec: AppSpec = {
  regions: ["local"],
  instances: BATCH,
  port: 8080,
  command: ["./server"],
  cwd: ".",
  env: {},
  triggers: [],
  health: { type: "tcp", path: "/", interval: 5, timeout: 2, threshold: 3 },
  restart: "always",
  tags: {},
};

export const bench: Bench = {
  unavailable: () => undefined,

  async run(log) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), `wt${process.pid}xipam`));
    const registry = new Registry({ file: path.join(dir, "registry.sqlite"), dir });
    try {
      registry.putNetwork("bench", {
        owner,
        spec: { name: "bench", cidr: "10.0.0.0/8", reserved: [], regions: [], domain: "internal", mtu: 1420, tags: {} },
      });
      let serial = 0;
      const put = (instances: number) => {
        const name = `app-${serial++}`;
        const member: PutMember = {
          owner: { ...owner, urn: `urn:${name}` },
          name,
          kind: "app",
          addresses: [],
          app: { ...spec, instances },
        };
        const start = process.hrtime.bigint();
        registry.putMember("bench", name, member);
        return Number(process.hrtime.bigint() - start) / 1000 / instances;
      };
      const singles = () => Array.from({ length: SINGLES }, () => put(1));
      const memory = () => {
        globalThis.gc?.();
        return process.memoryUsage.rss() / 2 ** 20;
      };

      const emptySingles = singles();
      const before = memory();
      const batches: number[] = [];
      for (let n = 0; n < LEASES; n += BATCH) {
        batches.push(put(BATCH));
        if ((n + BATCH) % 100_000 === 0) log(`${n + BATCH} leases: ${median(batches.slice(-100)).toFixed(1)} µs each`);
      }
      const after = memory();
      const fullSingles = singles();
      const first = median(batches.slice(0, 100));
      const last = median(batches.slice(-100));
      const size = fs.statSync(path.join(dir, "registry.sqlite")).size / 2 ** 20;
      return [
        {
          what: `a lease with the store, ${BATCH} in a transaction, over 1,000,000`,
          unit: "µs",
          ours: tenths(batches),
          goal: "< 50 µs",
          met: median(batches) < 50,
          note: "each round is 100,000 leases",
        },
        {
          what: "the same, the last 100,000 against the first",
          unit: "ratio",
          ours: [last / first],
          goal: "flat in n",
        },
        {
          what: "a member of one lease, its own durable transaction, with 1,000,000 leases present",
          unit: "µs",
          ours: [median(fullSingles)],
          other: { name: "in an empty network", values: [median(emptySingles)] },
          note: "the whole of it: validation, member, lease, revision, fsync",
        },
        { what: "resident memory that 1,000,000 leases add", unit: "MiB", ours: [after - before] },
        { what: "registry on disk with 1,000,000 leases", unit: "MiB", ours: [size] },
      ];
    } finally {
      registry.close();
      fs.rmSync(dir, { recursive: true, force: true });
    }
  },
};

function tenths(values: readonly number[]): number[] {
  const size = values.length / 10;
  return Array.from({ length: 10 }, (_, i) => median(values.slice(i * size, (i + 1) * size)));
}
