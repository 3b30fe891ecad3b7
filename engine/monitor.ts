import * as grpc from "@grpc/grpc-js";
import type * as AliasPb from "@pulumi/pulumi/proto/alias_pb";
import type * as EnginePb from "@pulumi/pulumi/proto/engine_pb";
import type * as ResourcePb from "@pulumi/pulumi/proto/resource_pb";
import { type Deployment, Stopped } from "./deployment";
import { EngineError, messageOf } from "./errors";
import { type Goal, parseDuration, type ReadGoal } from "./goal";
import { fromStruct, type Sdk } from "./sdk";
import type { CustomTimeouts } from "./state";
import type { EngineEvent, Severity } from "./types";
import type { Alias } from "./urn";
import { flattenOutputs, mapToProvider, type PropertyMap, type Value } from "./values";

/** What the program may rely on (ids of pkg/resource/deploy/source_eval.go); all else it is told not to use. */
const FEATURES = new Set(["secrets", "resourceReferences", "outputValues", "aliasSpecs", "deletedWith"]);

const SEVERITIES: Severity[] = ["debug", "info", "warning", "error"];
const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;

type Handler = (request: never) => Promise<unknown> | unknown;

/** Serves the engine's own interfaces, ResourceMonitor and Engine, to program and provider, on loopback. */
export class EngineServer {
  readonly #sdk: Sdk;
  readonly #deployment: Deployment | undefined;
  readonly #emit: (event: EngineEvent) => void;
  readonly #server: grpc.Server;
  #rootUrn = "";
  /** Error messages that the program has logged. */
  readonly errors: string[] = [];
  address = "";

  private constructor(sdk: Sdk, deployment: Deployment | undefined, emit: (event: EngineEvent) => void) {
    this.#sdk = sdk;
    this.#deployment = deployment;
    this.#emit = emit;
    this.#server = new grpc.Server({
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
      "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    });
  }

  /** `deployment` is absent where no program runs. */
  static async start(
    sdk: Sdk,
    deployment: Deployment | undefined,
    emit: (event: EngineEvent) => void,
  ): Promise<EngineServer> {
    const server = new EngineServer(sdk, deployment, emit);
    await server.#listen();
    return server;
  }

  async #listen(): Promise<void> {
    const { resourceRpc, engineRpc } = this.#sdk.protocol;
    this.#server.addService(
      resourceRpc.ResourceMonitorService as unknown as grpc.ServiceDefinition,
      this.#implement({
        supportsFeature: (request: ResourcePb.SupportsFeatureRequest) => this.#supportsFeature(request),
        registerResource: (request: ResourcePb.RegisterResourceRequest) => this.#registerResource(request),
        registerResourceOutputs: (request: ResourcePb.RegisterResourceOutputsRequest) => this.#registerOutputs(request),
        readResource: (request: ResourcePb.ReadResourceRequest) => this.#readResource(request),
        invoke: (request: ResourcePb.ResourceInvokeRequest) => this.#invoke(request),
        signalAndWaitForShutdown: async () => {
          await this.#deployment?.settled();
          return this.#empty();
        },
      }),
    );
    this.#server.addService(
      engineRpc.EngineService as unknown as grpc.ServiceDefinition,
      this.#implement({
        log: (request: EnginePb.LogRequest) => this.#log(request),
        setRootResource: (request: EnginePb.SetRootResourceRequest) => {
          this.#rootUrn = request.getUrn();
          return new this.#sdk.protocol.engine.SetRootResourceResponse();
        },
        getRootResource: () => {
          const response = new this.#sdk.protocol.engine.GetRootResourceResponse();
          response.setUrn(this.#rootUrn);
          return response;
        },
      }),
    );
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    this.address = `127.0.0.1:${port}`;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  #empty() {
    return new this.#sdk.protocol.empty.Empty();
  }

  /** Methods that are not here answer UNIMPLEMENTED, which SDKs take as "this engine is older". */
  #implement(handlers: Record<string, Handler>): grpc.UntypedServiceImplementation {
    const implementation: Record<string, grpc.handleUnaryCall<never, unknown>> = {};
    for (const [name, handler] of Object.entries(handlers)) {
      implementation[name] = (call, callback) => {
        Promise.resolve()
          .then(() => handler(call.request))
          .then((response) => callback(null, response))
          .catch((error: unknown) => {
            // UNAVAILABLE tells the SDK to end the program without a message of its own: the cause is on record here.
            const stopped = error instanceof Stopped;
            if (!stopped) this.#deployment?.steps.reportFailure(asError(error));
            if (!stopped) this.#deployment?.stop(asError(error));
            callback({ code: grpc.status.UNAVAILABLE, details: messageOf(error) });
          });
      };
    }
    return implementation as grpc.UntypedServiceImplementation;
  }

  #supportsFeature(request: ResourcePb.SupportsFeatureRequest) {
    const response = new this.#sdk.protocol.resource.SupportsFeatureResponse();
    response.setHassupport(FEATURES.has(request.getId()));
    return response;
  }

  #running(): Deployment {
    if (this.#deployment === undefined) throw new Stopped("No program runs in this operation.");
    return this.#deployment;
  }

  async #registerResource(request: ResourcePb.RegisterResourceRequest) {
    refuseUnsupported(request);
    const goal = toGoal(request);
    const state = await this.#running().registerResource(goal);
    const response = new this.#sdk.protocol.resource.RegisterResourceResponse();
    response.setUrn(state.urn);
    response.setId(state.id ?? "");
    response.setObject(this.#sdk.toStruct(answer(state.outputs, request.getAcceptsecrets())));
    response.setResult(this.#sdk.protocol.resource.Result.SUCCESS);
    return response;
  }

  async #readResource(request: ResourcePb.ReadResourceRequest) {
    const goal: ReadGoal = {
      type: request.getType(),
      name: request.getName(),
      parent: request.getParent(),
      id: request.getId(),
      properties: flattenOutputs(fromStruct(request.getProperties())) as PropertyMap,
      dependencies: request.getDependenciesList(),
      additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
    };
    const state = await this.#running().readResource(goal);
    const response = new this.#sdk.protocol.resource.ReadResourceResponse();
    response.setUrn(state.urn);
    response.setProperties(this.#sdk.toStruct(answer(state.outputs, request.getAcceptsecrets())));
    return response;
  }

  #registerOutputs(request: ResourcePb.RegisterResourceOutputsRequest) {
    const outputs = flattenOutputs(fromStruct(request.getOutputs())) as PropertyMap;
    this.#running().registerOutputs(request.getUrn(), outputs);
    return this.#empty();
  }

  #invoke(request: ResourcePb.ResourceInvokeRequest) {
    const token = request.getTok();
    if (token !== "pulumi:pulumi:getResource") {
      throw new EngineError(
        "ENGINE_UNSUPPORTED",
        `The function ${token} needs a provider plugin; the embedded engine has none. Use the Pulumi CLI.`,
      );
    }
    const { urn } = fromStruct(request.getArgs());
    const state = this.#running().find(String(urn));
    if (state === undefined) throw new EngineError("ENGINE_PROGRAM_FAILED", `There is no resource ${String(urn)}.`);
    const { provider, resource } = this.#sdk.protocol;
    // Renamed in newer SDKs; each serializer wants its own.
    const newer = resource as typeof resource & { ResourceInvokeResponse?: typeof provider.InvokeResponse };
    const response = new (newer.ResourceInvokeResponse ?? provider.InvokeResponse)();
    const found = { urn: state.urn, id: state.id ?? "", provider: state.provider ?? "", state: state.outputs };
    response.setReturn(this.#sdk.toStruct(found));
    return response;
  }

  #log(request: EnginePb.LogRequest) {
    const severity = SEVERITIES[request.getSeverity()] ?? "info";
    const message = severity === "error" ? trimStack(request.getMessage()) : request.getMessage();
    if (severity === "error") this.errors.push(message);
    // Ephemeral messages are a spinner's text.
    if (!request.getEphemeral()) {
      const urn = request.getUrn();
      this.#emit({ kind: "diagnostic", severity, message, ...(urn === "" ? {} : { urn }) });
    }
    return this.#empty();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** An SDK that takes no secrets gets plain values. */
function answer(outputs: PropertyMap, acceptSecrets: boolean): PropertyMap {
  return acceptSecrets ? outputs : mapToProvider(outputs);
}

/** Leaves of a stack trace the frames of the user's program. */
export function trimStack(message: string): string {
  const internal = /^\s+at .*(node:internal|[/\\]@pulumi[/\\]pulumi[/\\]|[/\\]node_modules[/\\])/;
  return message
    .split("\n")
    .filter((line) => !internal.test(line))
    .join("\n")
    .trimEnd();
}

/** Options that this engine cannot honour are refused, never dropped. Newer SDKs know options that older ones lack. */
function refuseUnsupported(request: ResourcePb.RegisterResourceRequest): void {
  const newer = request as Partial<ResourcePb.RegisterResourceRequest> & { getStateMigrationsList?(): unknown[] };
  const used: [boolean, string][] = [
    [request.getRemote(), "a remote component"],
    [request.getImportid() !== "", 'the option "import"'],
    [(newer.getTransformsList?.() ?? []).length > 0, "transforms"],
    [hasHooks(newer.getHooks?.()), "resource hooks"],
    [(newer.getReplaceWithList?.() ?? []).length > 0, 'the option "replaceWith"'],
    [(newer.getStateMigrationsList?.() ?? []).length > 0, "state migrations"],
    [(newer.getPackageref?.() ?? "") !== "", "a parameterized package"],
    [(newer.getEnvvarmappingsMap?.()?.getLength() ?? 0) > 0, 'the option "envVarMappings"'],
  ];
  for (const [isUsed, what] of used) {
    if (!isUsed) continue;
    throw new EngineError(
      "ENGINE_UNSUPPORTED",
      `${request.getType()} "${request.getName()}" uses ${what}, which the embedded engine does not support: use the Pulumi CLI.`,
    );
  }
}

function hasHooks(hooks: ResourcePb.RegisterResourceRequest.ResourceHooksBinding | undefined): boolean {
  return hooks !== undefined && Object.values(hooks.toObject()).some((names) => names.length > 0);
}

function toGoal(request: ResourcePb.RegisterResourceRequest): Goal {
  const propertyDependencies: Record<string, string[]> = {};
  for (const [key, dependencies] of request.getPropertydependenciesMap().entries()) {
    propertyDependencies[key] = (dependencies as ResourcePb.RegisterResourceRequest.PropertyDependencies).getUrnsList();
  }
  const trigger = request.hasReplacementTrigger?.() === true ? request.getReplacementTrigger()?.toJavaScript() : null;
  return {
    type: request.getType(),
    name: request.getName(),
    parent: request.getParent(),
    custom: request.getCustom(),
    inputs: flattenOutputs(fromStruct(request.getObject())) as PropertyMap,
    dependencies: request.getDependenciesList(),
    propertyDependencies,
    protect: request.getProtect() === true,
    retainOnDelete: request.getRetainondelete() === true,
    deletedWith: request.getDeletedwith(),
    deleteBeforeReplace: request.getDeletebeforereplacedefined() ? request.getDeletebeforereplace() : undefined,
    ignoreChanges: request.getIgnorechangesList(),
    replaceOnChanges: request.getReplaceonchangesList(),
    replacementTrigger: flattenOutputs((trigger ?? null) as Value),
    additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
    aliases: [
      ...request.getAliasurnsList().map((urn) => ({ urn })),
      ...request.getAliasesList().map((alias) => toAlias(alias)),
    ],
    customTimeouts: toTimeouts(request),
  };
}

function toAlias(alias: AliasPb.Alias): Alias {
  const spec = alias.getSpec();
  if (spec === undefined) return { urn: alias.getUrn() };
  return {
    name: spec.getName(),
    type: spec.getType(),
    stack: spec.getStack(),
    project: spec.getProject(),
    parent: spec.getParenturn(),
    noParent: spec.getNoparent(),
  };
}

function toTimeouts(request: ResourcePb.RegisterResourceRequest): CustomTimeouts | undefined {
  const timeouts = request.getCustomtimeouts();
  if (timeouts === undefined) return undefined;
  const result: CustomTimeouts = {};
  const texts = { create: timeouts.getCreate(), update: timeouts.getUpdate(), delete: timeouts.getDelete() };
  for (const [key, text] of Object.entries(texts)) {
    if (text === "") continue;
    const seconds = parseDuration(text);
    if (seconds === undefined) {
      throw new EngineError(
        "ENGINE_PROGRAM_FAILED",
        `${request.getType()} "${request.getName()}": customTimeouts.${key} "${text}" is no duration such as "5m".`,
      );
    }
    result[key as keyof typeof texts] = seconds;
  }
  return Object.keys(result).length > 0 ? result : undefined;
}
