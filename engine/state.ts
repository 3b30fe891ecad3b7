import { createHash } from "node:crypto";
import { EngineError } from "./errors";
import type { SecretCodec } from "./secrets";
import type { PropertyMap, Value } from "./values";

/** Seconds, as Pulumi keeps them. */
export interface CustomTimeouts {
  create?: number;
  update?: number;
  delete?: number;
  read?: number;
}

/** One resource of a deployment (`ResourceV3` in sdk/go/common/apitype/core.go), its secrets open. */
export interface ResourceState {
  urn: string;
  custom: boolean;
  /** True while the resource waits for its deletion after it was replaced. */
  delete?: boolean;
  id?: string;
  type: string;
  inputs: PropertyMap;
  outputs: PropertyMap;
  parent?: string;
  protect?: boolean;
  /** True when the resource was only read. */
  external?: boolean;
  dependencies: string[];
  initErrors: string[];
  /** `<URN of the provider>::<its id>` */
  provider?: string;
  propertyDependencies: Record<string, string[]>;
  /** True when the resource was deleted in order to be replaced and its successor does not exist yet. */
  pendingReplacement?: boolean;
  additionalSecretOutputs: string[];
  /** Former URN in this run only; never written. */
  alias?: string;
  customTimeouts?: CustomTimeouts;
  retainOnDelete?: boolean;
  deletedWith?: string;
  /** RFC 3339 */
  created?: string;
  modified?: string;
  ignoreChanges: string[];
  replaceOnChanges: string[];
  replacementTrigger?: Value;
}

export type OperationType = "creating" | "updating" | "deleting" | "reading";

export interface PendingOperation {
  resource: ResourceState;
  type: OperationType;
}

export interface Deployment {
  resources: ResourceState[];
  pendingOperations: PendingOperation[];
}

/** The file: Pulumi's deployment, version 3, as `pulumi stack export` writes it. */
export interface DeploymentFile {
  version: number;
  deployment: {
    manifest: { time: string; magic: string; version: string };
    secrets_providers?: { type: string; state?: { salt?: string } };
    resources?: SerializedResource[];
    pending_operations?: { resource: SerializedResource; type: OperationType }[];
  };
}

type SerializedResource = Record<string, unknown> & { urn: string; type: string };

const BOOLEANS = ["delete", "protect", "external", "pendingReplacement", "retainOnDelete"] as const;
const TEXTS = ["id", "parent", "provider", "deletedWith", "created", "modified"] as const;
const LISTS = ["dependencies", "initErrors", "additionalSecretOutputs", "ignoreChanges", "replaceOnChanges"] as const;
/** Parts of a state that this engine would lose or get wrong. */
const UNSUPPORTED = ["viewOf", "resourceHooks", "extensionRef", "snippetID", "replaceWith", "taint"] as const;

function serializeResource(state: ResourceState, codec: SecretCodec): SerializedResource {
  const out: SerializedResource = { urn: state.urn, custom: state.custom, type: state.type };
  for (const key of BOOLEANS) if (state[key] === true) out[key] = true;
  for (const key of TEXTS) if (state[key]) out[key] = state[key];
  if (Object.keys(state.inputs).length > 0) out.inputs = codec.encryptMap(state.inputs, `${state.urn} inputs`);
  if (Object.keys(state.outputs).length > 0) out.outputs = codec.encryptMap(state.outputs, `${state.urn} outputs`);
  for (const key of LISTS) if (state[key].length > 0) out[key] = state[key];
  if (Object.keys(state.propertyDependencies).length > 0) out.propertyDependencies = state.propertyDependencies;
  if (state.customTimeouts !== undefined) out.customTimeouts = state.customTimeouts;
  if (state.replacementTrigger !== undefined && state.replacementTrigger !== null) {
    out.replacementTrigger = codec.encryptMap({ trigger: state.replacementTrigger }, `${state.urn} trigger`).trigger;
  }
  return out;
}

function deserializeResource(raw: SerializedResource, codec: SecretCodec): ResourceState {
  for (const key of UNSUPPORTED) {
    if (raw[key] !== undefined) {
      throw new EngineError("ENGINE_UNSUPPORTED", `The state of ${raw.urn} uses "${key}": use the Pulumi CLI.`);
    }
  }
  const state: ResourceState = {
    urn: raw.urn,
    custom: raw.custom === true,
    type: raw.type,
    inputs: codec.decryptMap((raw.inputs ?? {}) as PropertyMap, `${raw.urn} inputs`),
    outputs: codec.decryptMap((raw.outputs ?? {}) as PropertyMap, `${raw.urn} outputs`),
    dependencies: [],
    initErrors: [],
    additionalSecretOutputs: [],
    ignoreChanges: [],
    replaceOnChanges: [],
    propertyDependencies: {},
  };
  for (const key of BOOLEANS) if (raw[key] === true) state[key] = true;
  for (const key of TEXTS) if (typeof raw[key] === "string" && raw[key] !== "") state[key] = raw[key] as string;
  for (const key of LISTS) if (Array.isArray(raw[key])) state[key] = raw[key] as string[];
  for (const [key, urns] of Object.entries((raw.propertyDependencies ?? {}) as Record<string, string[] | null>)) {
    state.propertyDependencies[key] = urns ?? [];
  }
  if (raw.customTimeouts !== undefined) state.customTimeouts = raw.customTimeouts as CustomTimeouts;
  if (raw.replacementTrigger !== undefined && raw.replacementTrigger !== null) {
    const map = { trigger: raw.replacementTrigger as Value };
    state.replacementTrigger = codec.decryptMap(map, `${raw.urn} trigger`).trigger;
  }
  return state;
}

/** `version` is the SDK's; Pulumi refuses a manifest whose magic is not the hash of its version. */
export function serializeDeployment(deployment: Deployment, codec: SecretCodec, version: string): DeploymentFile {
  const file: DeploymentFile = {
    version: 3,
    deployment: {
      manifest: {
        time: new Date().toISOString(),
        magic: createHash("sha256").update(version).digest("hex"),
        version,
      },
      secrets_providers: { type: "passphrase", state: { salt: codec.salt } },
    },
  };
  if (deployment.resources.length > 0) {
    file.deployment.resources = deployment.resources.map((resource) => serializeResource(resource, codec));
  }
  if (deployment.pendingOperations.length > 0) {
    file.deployment.pending_operations = deployment.pendingOperations.map(({ resource, type }) => ({
      resource: serializeResource(resource, codec),
      type,
    }));
  }
  return file;
}

export function deserializeDeployment(file: DeploymentFile, codec: SecretCodec): Deployment {
  return {
    resources: (file.deployment.resources ?? []).map((raw) => deserializeResource(raw, codec)),
    pendingOperations: (file.deployment.pending_operations ?? []).map(({ resource, type }) => ({
      resource: deserializeResource(resource, codec),
      type,
    })),
  };
}

/** Checks the frame of a state file before anything in it is believed. */
export function checkDeploymentFile(file: unknown, path: string): DeploymentFile {
  const { version, deployment } = (file ?? {}) as Partial<DeploymentFile>;
  if (typeof deployment !== "object" || deployment === null) {
    throw new EngineError("ENGINE_STATE", `${path} is not a Pulumi deployment.`);
  }
  if (version !== 3) {
    throw new EngineError(
      "ENGINE_STATE",
      `${path} is a deployment of version ${version}; this engine reads version 3: use the Pulumi CLI.`,
    );
  }
  const type = deployment.secrets_providers?.type;
  if (type !== undefined && type !== "passphrase") {
    throw new EngineError(
      "ENGINE_UNSUPPORTED",
      `${path} encrypts its secrets with "${type}"; this engine knows "passphrase" only.`,
    );
  }
  return file as DeploymentFile;
}

/** URNs that must exist before `state` and go after it. */
export function dependenciesOf(state: ResourceState): Set<string> {
  const urns = new Set(state.dependencies);
  for (const list of Object.values(state.propertyDependencies)) for (const urn of list) urns.add(urn);
  if (state.parent !== undefined) urns.add(state.parent);
  if (state.deletedWith !== undefined) urns.add(state.deletedWith);
  if (state.provider !== undefined) urns.add(providerUrn(state.provider));
  urns.delete(state.urn);
  return urns;
}

/** The URN in a provider reference. */
export function providerUrn(reference: string): string {
  return reference.slice(0, reference.lastIndexOf("::"));
}

export function isProviderType(type: string): boolean {
  return type.startsWith("pulumi:providers:");
}

/** The same state with each URN replaced by `rename`. */
export function renameUrns(state: ResourceState, rename: (urn: string) => string): ResourceState {
  const renamed: ResourceState = {
    ...state,
    dependencies: state.dependencies.map(rename),
    propertyDependencies: Object.fromEntries(
      Object.entries(state.propertyDependencies).map(([key, urns]) => [key, urns.map(rename)]),
    ),
  };
  if (state.parent !== undefined) renamed.parent = rename(state.parent);
  if (state.deletedWith !== undefined) renamed.deletedWith = rename(state.deletedWith);
  return renamed;
}
