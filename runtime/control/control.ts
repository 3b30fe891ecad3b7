/** Control: the registry behind an HTTP server on a Unix socket, and the desired state for the agent. */
import type { Home } from "../home";
import { VERSION } from "../version";
import type { AgentView, DialView, NamesView } from "./agent-view";
import { DesiredState, realTimers, type Timers } from "./desired-state";
import { serveDial } from "./http/dial";
import { routes, WAITS, type Waits } from "./http/routes";
import { ControlServer } from "./http/server";
import type { DesiredSource } from "./interface/desired";
import { PendingAgent } from "./pending-agent";
import { Registry } from "./registry";
import { Sources } from "./sources";

export interface ControlOptions {
  /** Prepared (`prepareHome`), and its lock held by this process. */
  readonly home: Home;
  readonly timers?: Timers;
  readonly version?: string;
  /** POST /v1/shutdown, after its answer has gone out. @default nothing happens */
  readonly onShutdown?: (apps: "keep" | "stop") => void;
  /** Errors that are no answer to anyone's input; for the log. @default thrown away */
  readonly onError?: (error: unknown) => void;
  readonly waits?: Partial<Waits>;
}

export interface Control {
  readonly registry: Registry;
  readonly desired: DesiredSource;
  /** The agent answers from now on; until then control says that it is starting. */
  attachAgent(agent: AgentView): void;
  /** Likewise for questions of names. */
  attachNames(names: NamesView): void;
  /** Likewise for connections into networks. */
  attachDial(dial: DialView): void;
  /** Takes calls; also again after `deafen`. */
  listen(): Promise<void>;
  /** Takes no more calls, and lets those under way end. */
  deafen(): Promise<void>;
  close(): Promise<void>;
  /** Milliseconds for which nothing has been declared and nobody has asked; 0: the daemon is needed. */
  unusedFor(): number;
  isEmpty(): boolean;
}

/** @throws WarrenError WARREN_STORAGE, WARREN_PERMISSION, WARREN_VERSION */
export function createControl(options: ControlOptions): Control {
  const { home, timers = realTimers } = options;
  const report = options.onError ?? (() => {});
  const waits = { ...WAITS, ...options.waits };
  const registry = new Registry({ file: home.registry, dir: home.dir, now: () => timers.now() });
  const desired = new DesiredState(registry, timers);
  const sources = new Sources(home.sources, () => timers.now());
  const started = timers.now();
  const agent = new PendingAgent(waits.agent);
  let names: NamesView | undefined;
  let dial: DialView | undefined;
  const server = new ControlServer(
    home.controlSocket,
    routes({
      registry,
      sources,
      agent: () => agent,
      names: () => names,
      dial: () => dial,
      version: options.version ?? VERSION,
      homeDir: home.dir,
      uptime: () => timers.now() - started,
      shutdown: options.onShutdown ?? (() => {}),
      removeUnusedSources: () => {
        try {
          sources.keepOnly(registry.sourceHashes());
        } catch (error) {
          report(error);
        }
      },
      waits,
    }),
    report,
    (request, socket, head) =>
      serveDial(request, socket, head, { networkId: (name) => registry.network(name).id, dial: () => dial }),
  );
  return {
    registry,
    desired,
    attachAgent: (attached) => agent.attach(attached),
    attachNames: (attached) => {
      names = attached;
    },
    attachDial: (attached) => {
      dial = attached;
    },
    listen: () => server.listen(),
    deafen: () => server.close(),
    unusedFor: () => (registry.isEmpty ? server.quietFor : 0),
    close: async () => {
      await server.close();
      desired.close();
      registry.close();
    },
    isEmpty: () => registry.isEmpty,
  };
}
