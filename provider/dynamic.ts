/** Adapts a resource's behaviour to what Pulumi's dynamic provider calls. */
import { randomBytes } from "node:crypto";
import { WarrenError } from "../runtime/errors";
import { type ControlClient, controlPlace, socketClient } from "./client";
import { type Crud, type HookContext, InitFailure, type Props } from "./core/crud";
import { UNKNOWN } from "./core/unknown";
import { ensureDaemon, peekDaemon } from "./daemon";

/** What Pulumi puts in the place of a value that it does not know yet, whatever its type (sdk/nodejs/runtime/rpc.ts). */
export const UNKNOWN_SENTINEL = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

interface ConfigureRequest {
  readonly config: { get(key: string): string | undefined };
}

/** What `exports.handler()` of the `__provider` in state gives to Pulumi's dynamic-provider process. */
export interface DynamicProvider {
  configure(request: ConfigureRequest): Promise<void>;
  check(olds: Props, news: Props): Promise<{ inputs: Props; failures: { property: string; reason: string }[] }>;
  diff(
    id: string,
    olds: Props,
    news: Props,
  ): Promise<{ changes: boolean; replaces: string[]; deleteBeforeReplace: boolean }>;
  create(inputs: Props): Promise<{ id: string; outs: Props }>;
  read(id: string, props: Props): Promise<{ id: string; props: Props }>;
  update(id: string, olds: Props, news: Props): Promise<{ outs: Props }>;
  delete(id: string, props: Props): Promise<void>;
}

/** `contextOf` makes the hooks' surroundings from the configuration; tests pass their own. */
export function dynamicProvider(
  crud: Crud,
  contextOf: (config: WarrenConfig) => HookContext = machineContext,
): DynamicProvider {
  let config: WarrenConfig = {};
  let made: HookContext | undefined;
  const ctx = () => {
    made ??= contextOf(config);
    return made;
  };
  return {
    async configure(request) {
      const get = (key: string) => request.config.get(`warren:${key}`) || undefined;
      config = { adopt: get("adopt"), endpoint: get("endpoint"), controlUrl: get("controlUrl"), token: get("token") };
      made = undefined;
    },
    check: (olds, news) =>
      plainly(async () => {
        const { inputs, failures } = await crud.check(ctx(), decode(olds), decode(news));
        return { inputs: encode(inputs) as Props, failures: [...failures] };
      }),
    diff: (id, olds, news) =>
      plainly(async () => {
        const { changes, replaces, deleteBeforeReplace } = await crud.diff(ctx(), id, decode(olds), decode(news));
        return { changes, replaces: [...replaces], deleteBeforeReplace };
      }),
    create: (inputs) => keepingProvider(inputs, () => crud.create(ctx(), decode(inputs))),
    read: (id, props) =>
      plainly(async () => {
        const result = await crud.read(ctx(), id, decode(props));
        // A blank id tells the engine that the object is gone.
        return result ?? { id: "", props: {} };
      }),
    update: (id, olds, news) => keepingProvider(news, () => crud.update(ctx(), id, decode(olds), decode(news))),
    delete: (id, props) => plainly(() => crud.delete(ctx(), id, decode(props))),
  };
}

export interface WarrenConfig {
  readonly adopt?: string;
  readonly endpoint?: string;
  readonly controlUrl?: string;
  readonly token?: string;
}

/** The real surroundings: this machine's state folder, the folder that Pulumi runs the program in. */
export function machineContext(config: WarrenConfig): HookContext {
  if (config.token !== undefined)
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      'warren:token is not supported yet, for control runs on this machine only and asks for none: "pulumi config rm warren:token".',
      { path: "warren:token" },
    );
  const place = () => controlPlace(config.controlUrl);
  const socketOf = async (
    start: (p: { home: import("../runtime/home").Home }) => Promise<ControlClient | undefined>,
  ) => {
    const p = place();
    if ("home" in p) return start(p);
    return socketClient(p.socketPath);
  };
  return {
    peek: () => socketOf((p) => peekDaemon(p.home)),
    ensure: async () => (await socketOf((p) => ensureDaemon(p.home)))!,
    adopt: config.adopt,
    endpoint: config.endpoint,
    programDir: process.cwd(),
    now: Date.now,
    random: (bytes) => Uint8Array.from(randomBytes(bytes)),
    // A dynamic provider has no way to the engine's log; what its process writes is shown among the diagnostics.
    warn: (message) => void process.stderr.write(`warning: ${message}\n`),
  };
}

/** An init failure must carry everything that the state needs, `__provider` included; Pulumi adds it on no other path. */
async function keepingProvider<T>(inputs: Props, f: () => Promise<T>): Promise<T> {
  return plainly(async () => {
    try {
      return await f();
    } catch (error) {
      if (!(error instanceof InitFailure)) throw error;
      const properties = { ...error.outs, __provider: inputs.__provider };
      throw Object.assign(new Error(error.message), { id: error.id, properties, reasons: [...error.reasons] });
    }
  });
}

/** Pulumi prints an error's stack where it prints one: a WarrenError's sentence says all a person needs. */
async function plainly<T>(f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (error) {
    if (WarrenError.is(error)) {
      error.message = `${error.message} [${error.code}]`;
      error.stack = "";
    }
    throw error;
  }
}

function decode(props: Props): Props {
  return walk(props, (value) => (value === UNKNOWN_SENTINEL ? UNKNOWN : value)) as Props;
}

function encode(value: unknown): unknown {
  return walk(value, (v) => (v === UNKNOWN ? UNKNOWN_SENTINEL : v));
}

function walk(value: unknown, f: (leaf: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((v) => walk(v, f));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, walk(v, f)]));
  return f(value);
}
