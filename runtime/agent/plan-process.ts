/** An app's process as the keeper shall run it: pure. */
import { createHash } from "node:crypto";
import type { DesiredApp, DesiredInstance, DesiredNetwork } from "../control/interface/desired";
import { SERVICES } from "../dns/names";
import type { LoopbackSpec, ProcessSpec } from "../keeper/protocol";
import { machineId } from "../machine-id";
import { proxyEnvironment } from "../userspace/proxy-environment";
import { addressesOf, reachedRanges } from "./members";
import type { Machine } from "./plan";
import type { Plug } from "./plugs";

/** App log files are rotated at this size, bytes. */
const LOG_BYTES = 10 * 1024 * 1024;

/** Milliseconds between SIGTERM and SIGKILL; Fly's default is 5 s. */
const STOP_TIMEOUT = 5000;

/** Of an app's process, and of commands that are run where it runs. */
export function planEnvironment(
  network: DesiredNetwork,
  app: DesiredApp,
  instance: DesiredInstance,
  machine: Machine,
  plug: Plug,
): Record<string, string> {
  const { spec } = app;
  const user = spec.user ?? machine.defaultUser;
  const facts = {
    APP_NAME: app.name,
    REGION: instance.region,
    PRIVATE_IP: addressesOf(instance.address)[0] ?? "",
    MACHINE_ID: machineId(instance.id),
  };
  const env: Record<string, string> = {
    PATH: machine.path,
    HOME: machine.homeOf(user),
    LANG: machine.lang,
    ...(plug.link === "userspace" ? proxyEnvironment(plug.loopback.proxy, plug.loopback.secret) : {}),
    ...spec.env,
  };
  const port = plug.link === "userspace" ? plug.loopback.port : spec.port;
  if (spec.port !== 0) env.PORT = env.WARREN_PORT = String(port);
  for (const [key, value] of Object.entries(facts)) env[`FLY_${key}`] = env[`WARREN_${key}`] = value;
  if (plug.link === "userspace") Object.assign(env, proxyUse(network, machine.preload?.(user), plug.loopback, env));
  return env;
}

/** For programs of Node, which has no setting that takes all of their connections through a proxy. */
function proxyUse(
  network: DesiredNetwork,
  preload: string | undefined,
  { proxy, secret }: LoopbackSpec,
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  const { WARREN_PROXY } = proxyEnvironment(proxy, secret);
  const use = {
    WARREN_PROXY: WARREN_PROXY as string,
    WARREN_PROXY_FOR: [...reachedRanges(network), `.${network.domain}`, `.${SERVICES}`].join(","),
  };
  if (preload === undefined) return use;
  return { ...use, NODE_OPTIONS: [`--require=${preload}`, env.NODE_OPTIONS].filter(Boolean).join(" ") };
}

export function planProcess(
  app: DesiredApp,
  instance: DesiredInstance,
  machine: Machine,
  env: Record<string, string>,
): ProcessSpec {
  const { spec } = app;
  const user = spec.user ?? machine.defaultUser;
  const base = spec.sourceHash ? machine.sourceDir(spec.sourceHash) : "/";
  const run = {
    sandbox: instance.id,
    command: spec.command as string[],
    cwd: spec.cwd.startsWith("/") ? spec.cwd : join(base, spec.cwd),
    env,
    user,
    restart: spec.restart,
  };
  const hash = createHash("sha256")
    .update(JSON.stringify([run, spec.triggers, instance.address]))
    .digest("hex")
    .slice(0, 16);
  return { ...run, log: machine.logFile(instance.id), logBytes: LOG_BYTES, stopTimeout: STOP_TIMEOUT, hash };
}

function join(base: string, relative: string): string {
  const rest = relative.replace(/^\.\//, "");
  return rest === "" || rest === "." ? base : `${base}/${rest}`;
}
