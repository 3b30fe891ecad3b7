import * as grpc from "@grpc/grpc-js";
import type * as ProviderPb from "@pulumi/pulumi/proto/provider_pb";
import { NodeChild } from "./child";
import { EngineError, messageOf } from "./errors";
import { fromStruct, type Sdk } from "./sdk";
import { annotateSecrets, changedKeys, mapToProvider, type PropertyMap } from "./values";

/** A create or update that left a resource behind which does not work yet. */
export class InitFailed extends Error {
  readonly id: string;
  readonly properties: PropertyMap;
  readonly reasons: string[];

  constructor(message: string, id: string, properties: PropertyMap, reasons: string[]) {
    super(message);
    this.name = "InitFailed";
    this.id = id;
    this.properties = properties;
    this.reasons = reasons.length > 0 ? reasons : [message];
  }
}

export interface CheckFailure {
  property: string;
  reason: string;
}

export interface DiffResult {
  changed: boolean;
  /** Properties that force a replacement. */
  replaceKeys: string[];
  /** Properties known to differ; known only where the provider left the decision to the engine. */
  changedKeys: string[];
  deleteBeforeReplace: boolean;
}

export interface ReadResult {
  /** Empty when the resource is gone. */
  id: string;
  outputs: PropertyMap;
  /** Present when the provider says what the inputs are now. */
  inputs?: PropertyMap;
}

export interface ProviderOptions {
  sdk: Sdk;
  programDir: string;
  project: string;
  stack: string;
  /** Full configuration keys to plain values. */
  config: Record<string, string>;
  secretKeys: string[];
  env: NodeJS.ProcessEnv;
  /** `host:port` of the Engine service. */
  engineAddress: string;
  onLine(stream: "stdout" | "stderr", line: string): void;
}

const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;

/**
 * The dynamic provider of @pulumi/pulumi, unmodified, in a process of its own. It gets plain values and gives plain
 * values; secrets are marked again by the names of the inputs that were secret.
 */
export class DynamicProvider {
  readonly #sdk: Sdk;
  readonly #child: NodeChild;
  readonly #client: grpc.Client & Record<string, unknown>;

  private constructor(sdk: Sdk, child: NodeChild, client: grpc.Client) {
    this.#sdk = sdk;
    this.#child = child;
    this.#client = client as grpc.Client & Record<string, unknown>;
  }

  static async start(options: ProviderOptions): Promise<DynamicProvider> {
    const { sdk } = options;
    let announce: (port: string) => void = () => {};
    const firstLine = new Promise<string>((resolve) => {
      announce = resolve;
    });
    let announced = false;
    const child = new NodeChild({
      script: sdk.dynamicProviderScript,
      args: [options.engineAddress],
      cwd: options.programDir,
      env: {
        ...options.env,
        ...configEnvironment(options.config, options.secretKeys),
        PULUMI_NODEJS_PROJECT: options.project,
        PULUMI_NODEJS_STACK: options.stack,
      },
      onLine: (stream, line) => {
        if (stream === "stdout" && !announced) {
          announced = true;
          announce(line.trim());
        } else options.onLine(stream, line);
      },
    });
    const ended = child.exited.then(
      ({ code, signal }) => crashed(`ended at its start (${signal ?? `code ${code}`})`),
      (error: unknown) => crashed(`did not start: ${messageOf(error)}`),
    );
    const port = await Promise.race([firstLine, ended]);
    if (typeof port !== "string") throw port;
    if (!/^\d+$/.test(port)) {
      await child.stop();
      throw crashed(`announced "${port}" instead of its port`);
    }
    const Client = grpc.makeGenericClientConstructor(
      sdk.protocol.providerRpc.ResourceProviderService as unknown as grpc.ServiceDefinition,
      "ResourceProvider",
    );
    const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
      "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    });
    const provider = new DynamicProvider(sdk, child, client);
    const request = new sdk.protocol.provider.ConfigureRequest();
    request.setAcceptsecrets(true);
    request.setAcceptresources(true);
    request.setArgs(sdk.toStruct(options.config));
    await provider.#call("configure", request);
    return provider;
  }

  /** `olds` are the inputs of the resource as it is, or nothing for a new one. */
  async check(
    urn: string,
    olds: PropertyMap,
    news: PropertyMap,
  ): Promise<{ inputs: PropertyMap; failures: CheckFailure[] }> {
    const request = new this.#sdk.protocol.provider.CheckRequest();
    request.setUrn(urn);
    // Always present, though perhaps empty: the provider reads it unasked.
    request.setOlds(this.#struct(olds));
    request.setNews(this.#struct(news));
    const response = await this.#call<ProviderPb.CheckResponse>("check", request);
    return {
      inputs: annotateSecrets(fromStruct(response.getInputs()), news),
      failures: response.getFailuresList().map((f) => ({ property: f.getProperty(), reason: f.getReason() })),
    };
  }

  async diff(
    urn: string,
    id: string,
    olds: { inputs: PropertyMap; outputs: PropertyMap },
    news: PropertyMap,
  ): Promise<DiffResult> {
    const request = new this.#sdk.protocol.provider.DiffRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setOlds(this.#struct(olds.outputs));
    request.setOldInputs(this.#struct(olds.inputs));
    request.setNews(this.#struct(news));
    const response = await this.#call<ProviderPb.DiffResponse>("diff", request);
    const { DIFF_NONE, DIFF_SOME } = this.#sdk.protocol.provider.DiffResponse.DiffChanges;
    const answer = response.getChanges();
    const result: DiffResult = {
      changed: answer === DIFF_SOME,
      replaceKeys: response.getReplacesList(),
      changedKeys: response.getDiffsList(),
      deleteBeforeReplace: response.getDeletebeforereplace(),
    };
    if (answer === DIFF_SOME || answer === DIFF_NONE) return result;
    // The provider does not say: any difference of the inputs is a change.
    const keys = changedKeys(olds.inputs, news);
    return { ...result, changed: keys.length > 0, changedKeys: keys };
  }

  /** @throws InitFailed when the resource exists but does not work. */
  async create(urn: string, inputs: PropertyMap, timeout: number): Promise<{ id: string; outputs: PropertyMap }> {
    const request = new this.#sdk.protocol.provider.CreateRequest();
    request.setUrn(urn);
    request.setProperties(this.#struct(inputs));
    request.setTimeout(timeout);
    const response = await this.#call<ProviderPb.CreateResponse>("create", request, inputs);
    if (response.getId() === "") {
      throw new EngineError("ENGINE_OPERATION_FAILED", "The provider returned no id from create.", { urn });
    }
    return { id: response.getId(), outputs: annotateSecrets(fromStruct(response.getProperties()), inputs) };
  }

  /** @throws InitFailed when the resource was changed but does not work. */
  async update(
    urn: string,
    id: string,
    outputs: PropertyMap,
    news: PropertyMap,
    timeout: number,
  ): Promise<PropertyMap> {
    const request = new this.#sdk.protocol.provider.UpdateRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setOlds(this.#struct(outputs));
    request.setNews(this.#struct(news));
    request.setTimeout(timeout);
    const response = await this.#call<ProviderPb.UpdateResponse>("update", request, news);
    return annotateSecrets(fromStruct(response.getProperties()), news);
  }

  async delete(urn: string, id: string, outputs: PropertyMap, timeout: number): Promise<void> {
    const request = new this.#sdk.protocol.provider.DeleteRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setProperties(this.#struct(outputs));
    request.setTimeout(timeout);
    await this.#call("delete", request);
  }

  /** `state` is what is known of the resource: its outputs, or what the program passed to `get`. */
  async read(urn: string, id: string, inputs: PropertyMap, state: PropertyMap): Promise<ReadResult> {
    const request = new this.#sdk.protocol.provider.ReadRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setProperties(this.#struct(state));
    request.setInputs(this.#struct(inputs));
    const response = await this.#call<ProviderPb.ReadResponse>("read", request);
    const result: ReadResult = {
      id: response.getId(),
      outputs: annotateSecrets(fromStruct(response.getProperties()), state),
    };
    if (response.hasInputs()) result.inputs = annotateSecrets(fromStruct(response.getInputs()), inputs);
    return result;
  }

  async stop(): Promise<void> {
    this.#client.close();
    await this.#child.stop();
  }

  #struct(map: PropertyMap) {
    return this.#sdk.toStruct(mapToProvider(map));
  }

  #call<Response>(method: string, request: unknown, secretSource: PropertyMap = {}): Promise<Response> {
    return new Promise<Response>((resolve, reject) => {
      const invoke = this.#client[method] as (
        request: unknown,
        callback: (error: grpc.ServiceError | null, response: Response) => void,
      ) => void;
      invoke.call(this.#client, request, (error, response) => {
        if (error === null) resolve(response);
        else reject(this.#explain(error, secretSource));
      });
    });
  }

  #explain(error: grpc.ServiceError, secretSource: PropertyMap): Error {
    const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
    if (details !== undefined) {
      const status = this.#sdk.protocol.status.Status.deserializeBinary(details as Uint8Array);
      for (const any of status.getDetailsList()) {
        if (!any.getTypeUrl().endsWith("pulumirpc.ErrorResourceInitFailed")) continue;
        const failure = this.#sdk.protocol.provider.ErrorResourceInitFailed.deserializeBinary(any.getValue_asU8());
        const properties = annotateSecrets(fromStruct(failure.getProperties()), secretSource);
        return new InitFailed(status.getMessage(), failure.getId(), properties, failure.getReasonsList());
      }
    }
    if (error.code === grpc.status.UNAVAILABLE || error.code === grpc.status.CANCELLED) {
      return crashed(`ended in the middle of an operation (${error.details})`);
    }
    return new EngineError("ENGINE_OPERATION_FAILED", error.details || error.message, { cause: error });
  }
}

function crashed(what: string): EngineError {
  return new EngineError("ENGINE_PROVIDER_CRASHED", `The dynamic provider's process ${what}.`);
}

/** How a Pulumi language host hands configuration to Node (pulumi-language-nodejs, constructConfig). */
export function configEnvironment(config: Record<string, string>, secretKeys: string[]): NodeJS.ProcessEnv {
  const renamed: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    const colon = key.indexOf(":");
    renamed[`${key.slice(0, colon)}:config:${key.slice(colon + 1)}`] = value;
  }
  return { PULUMI_CONFIG: JSON.stringify(renamed), PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(secretKeys) };
}
