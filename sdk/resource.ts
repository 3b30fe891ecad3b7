/** What all resources of this package have in common: how they reach their provider, and what they send beside their arguments. */
import { createRequire } from "node:module";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { WarrenError } from "../runtime/errors";
import { snapshot } from "./snapshot";

export type Kind = "Network" | "Peer" | "App" | "Host";

/** A dynamic resource's token; pulumi.dynamic.Resource would make the same one. */
export function typeToken(kind: Kind): string {
  return `pulumi-nodejs:dynamic/warren:${kind}`;
}

/**
 * The provider as it stands in the state for ever: one line that loads the code from the program's own node_modules, instead of
 * that code itself as pulumi.dynamic.Resource would write it. So old objects are always handled by the installed version.
 */
export function providerText(kind: Kind): string {
  return `exports.handler=()=>require("${providerModule(kind)}")`;
}

function providerModule(kind: Kind): string {
  return `pulumi-warren/provider/${kind.toLowerCase()}`;
}

const resolved = new Set<string>();

/**
 * Pulumi loads the provider from the program's folder: without the package there, nothing could be made, changed or deleted.
 * @throws WarrenError WARREN_INVALID_INPUT
 */
function requireInProject(kind: Kind): void {
  const cwd = process.cwd();
  if (resolved.has(cwd)) return;
  try {
    createRequire(path.join(cwd, "package.json")).resolve(providerModule(kind));
    resolved.add(cwd);
  } catch (cause) {
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `${providerModule(kind)} cannot be found from ${cwd}: add pulumi-warren to this project, for instance with "npm install pulumi-warren".`,
      { cause },
    );
  }
}

/** The inputs that a resource sends beside those of its user. */
export function hiddenInputs(kind: Kind, name: string, opts: pulumi.CustomResourceOptions | undefined): pulumi.Inputs {
  requireInProject(kind);
  const urn = plain(pulumi.createUrn(name, typeToken(kind), opts?.parent));
  return {
    __provider: providerText(kind),
    owner: {
      organization: pulumi.getOrganization(),
      project: pulumi.getProject(),
      stack: pulumi.getStack(),
      // Nothing is registered before it is known what was there.
      urn: snapshot().then(() => urn),
    },
    createTimeout: seconds(opts?.customTimeouts?.create, "create"),
    updateTimeout: seconds(opts?.customTimeouts?.update, "update"),
  };
}

/**
 * The value without what it depends on: a URN names its parent, and an input that depends on a component would wait for all of
 * the component's children, this one among them. URNs are known in previews too.
 */
function plain(output: pulumi.Output<string>): Promise<string> {
  return new Promise((resolve) => {
    output.apply(resolve);
  });
}

const UNITS: Readonly<Record<string, number>> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Seconds of a duration such as `90s` or `1h30m`, which is how Pulumi writes customTimeouts. */
function seconds(duration: string | undefined, property: string): number | undefined {
  if (duration === undefined) return undefined;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(duration))
    throw new WarrenError(
      "WARREN_INVALID_INPUT",
      `customTimeouts.${property}: "${duration}" is no duration such as 90s or 5m.`,
      {
        path: `customTimeouts.${property}`,
      },
    );
  let sum = 0;
  for (const [, number, unit] of duration.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(number) * UNITS[unit];
  return sum;
}

/** Brands rather than instanceof: a program may load two copies of this package. */
export function brand(kind: Kind): symbol {
  return Symbol.for(`pulumi-warren.${kind}`);
}

export function hasBrand(value: unknown, kind: Kind): boolean {
  return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[brand(kind)] === true;
}

/** Marks a resource; not enumerable, so that it is no output. */
export function setBrand(resource: object, kind: Kind): void {
  Object.defineProperty(resource, brand(kind), { value: true });
}

/** All names as outputs that are not known before the provider has said them: Pulumi keeps only what a constructor lists. */
export function outputsOf(names: readonly string[]): pulumi.Inputs {
  return Object.fromEntries(names.map((name) => [name, undefined]));
}

/** For `.get()`: the object is read, and everything about it is an output. */
export function existingProps(kind: Kind, outputs: readonly string[]): pulumi.Inputs {
  requireInProject(kind);
  return { ...outputsOf(outputs), __provider: providerText(kind) };
}

export function withSecrets(
  opts: pulumi.CustomResourceOptions | undefined,
  names: readonly string[],
): pulumi.CustomResourceOptions {
  return pulumi.mergeOptions(opts ?? {}, { additionalSecretOutputs: [...names] });
}
