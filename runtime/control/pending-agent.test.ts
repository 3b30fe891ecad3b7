import type { AgentView } from "./agent-view";
import { PendingAgent } from "./pending-agent";

const signal = new AbortController().signal;
const working: AgentView = {
  readiness: async () => ({ ready: true, missing: [], warnings: [] }),
  status: () => ({ applied: 3, problems: [], link: "tun", aead: "node", instances: [], tunnels: [] }),
  entry: async () => ({ prefix: ["nsenter"], cwd: "/", env: {} }),
  logs: async function* () {
    yield "hello\n";
  },
  settled: async () => true,
};

test("whoever asks before the agent has started gets its answer once it has", async () => {
  const pending = new PendingAgent(5000);
  const answers = Promise.all([
    pending.status(),
    pending.entry("mem_a.0"),
    pending.readiness("mem_a", 5000, signal),
    pending.settled("mem_a", 5000, signal),
  ]);
  pending.attach(working);
  const [status, entry, readiness, settled] = await answers;
  expect(status).toMatchObject({ applied: 3 });
  expect(entry.prefix).toEqual(["nsenter"]);
  expect(readiness.ready).toBe(true);
  expect(settled).toBe(true);
  const chunks: unknown[] = [];
  for await (const chunk of pending.logs("mem_a.0", { lines: 1, follow: false, signal })) chunks.push(chunk);
  expect(chunks).toEqual(["hello\n"]);
});

test("an agent that does not start within the bound is said to be starting", async () => {
  const pending = new PendingAgent(10);
  expect(await pending.status()).toMatchObject({ applied: 0, problems: ["the agent is still starting"] });
  await expect(pending.entry("mem_a.0")).rejects.toMatchObject({ code: "WARREN_NOT_READY" });
  expect(await pending.readiness("mem_a", 10, signal)).toMatchObject({ ready: false });
  expect(await pending.settled("mem_a", 10, signal)).toBe(false);
});
