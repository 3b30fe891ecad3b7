/** The inputs of an app that have a structure of their own: environment and health. */
import type { Health } from "../../runtime/control/interface/types";
import { InputReader } from "./inputs";
import { hasUnknown, isUnknown, UNKNOWN, type Unknown } from "./unknown";

/** Variables that every app gets from Warren: what they say must be true. */
const OURS = /^(PORT|FLY_APP_NAME|FLY_REGION|FLY_PRIVATE_IP|FLY_MACHINE_ID|WARREN_.*)$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

export function appEnvironment(input: InputReader): Record<string, string> | Unknown {
  const env = input.record("env") ?? {};
  if (isUnknown(env)) return env;
  for (const name of Object.keys(env)) {
    if (!VARIABLE.test(name))
      input.fail(`env.${name}`, `"${name}" is no name of an environment variable: use letters, digits and "_".`);
    else if (OURS.test(name)) {
      const remedy = name === "PORT" ? 'set "port" instead' : "choose another name";
      input.fail(`env.${name}`, `Warren itself sets ${name} for every app: ${remedy}.`);
    }
  }
  return env;
}

/** Seconds, and a number of failures in a row. */
const DEFAULTS = { interval: 5, timeout: 2, threshold: 3 };

/** Given or not, in part or whole: a complete Health. `"tcp"`, `"http"` and `"none"` are short for `{type}`. */
export function appHealth(input: InputReader, port: number | Unknown): Health | Unknown {
  const raw = input.raw("health");
  const ofPort = isUnknown(port) ? UNKNOWN : port === 0 ? "none" : "tcp";
  if (isUnknown(raw) || hasUnknown(raw)) return UNKNOWN;
  if (raw !== undefined && typeof raw !== "string" && (typeof raw !== "object" || Array.isArray(raw))) {
    input.fail("health", '"health" must be "tcp", "http", "none", or a map such as {type: "http", path: "/healthz"}.');
    return UNKNOWN;
  }
  const given = typeof raw === "string" ? { type: raw } : (raw as Record<string, unknown> | undefined);
  if (given === undefined && isUnknown(ofPort)) return UNKNOWN;
  const inner = new InputReader("health", given ?? {});
  inner.onlyKeys(["type", "port", "path", "interval", "timeout", "threshold"]);
  const byPath = given?.path === undefined ? ofPort : "http";
  const type = inner.oneOf("type", ["tcp", "http", "none"] as const) ?? byPath;
  const healthPort = inner.integer("port", 1, 65535);
  const path = inner.string("path");
  if (typeof path === "string" && (!path.startsWith("/") || /[\s#]/.test(path)))
    inner.fail("path", `"${path}" is no path of a URL: begin it with "/".`);
  if (path !== undefined && type === "tcp") inner.fail("path", 'A "path" needs type "http".');
  if (type !== "none" && port === 0 && healthPort === undefined)
    inner.fail("type", 'The app listens on no port ("port" is 0): set type "none", or give "port" in health.');
  const seconds = (key: "interval" | "timeout", least: number, most: number): number => {
    const value = inner.raw(key) ?? DEFAULTS[key];
    if (typeof value === "number" && value >= least && value <= most) return value;
    inner.fail(key, `"${key}" must be a number of seconds from ${least} to ${most}.`);
    return DEFAULTS[key];
  };
  const health = {
    type,
    ...(healthPort === undefined ? {} : { port: healthPort }),
    ...(type === "http" ? { path: path ?? "/" } : {}),
    interval: seconds("interval", 0.1, 3600),
    timeout: seconds("timeout", 0.1, 60),
    threshold: (inner.integer("threshold", 1, 100) as number | undefined) ?? DEFAULTS.threshold,
  };
  for (const { property, reason } of inner.failures) input.fail(`health.${property}`, reason);
  return health as Health;
}
