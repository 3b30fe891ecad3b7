import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import type * as Alias from "@pulumi/pulumi/proto/alias_pb";
import type * as EngineRpc from "@pulumi/pulumi/proto/engine_grpc_pb";
import type * as Engine from "@pulumi/pulumi/proto/engine_pb";
import type * as ProviderRpc from "@pulumi/pulumi/proto/provider_grpc_pb";
import type * as Provider from "@pulumi/pulumi/proto/provider_pb";
import type * as ResourceRpc from "@pulumi/pulumi/proto/resource_grpc_pb";
import type * as Resource from "@pulumi/pulumi/proto/resource_pb";
import type * as Status from "@pulumi/pulumi/proto/status_pb";
import type * as Empty from "google-protobuf/google/protobuf/empty_pb";
import type * as Struct from "google-protobuf/google/protobuf/struct_pb";
import { EngineError } from "./errors";
import type { PropertyMap } from "./values";

/** Generated messages and services, as one SDK copy has them. */
export interface Protocol {
  alias: typeof Alias;
  engine: typeof Engine;
  engineRpc: typeof EngineRpc;
  provider: typeof Provider;
  providerRpc: typeof ProviderRpc;
  resource: typeof Resource;
  resourceRpc: typeof ResourceRpc;
  status: typeof Status;
  empty: typeof Empty;
  struct: typeof Struct;
}

/**
 * The @pulumi/pulumi that the program loads. Program, provider process and the messages between them and the engine all
 * come from this one copy: its messages know every field that it sends, so an option that this engine does not support
 * is seen and refused instead of dropped by an older decoder.
 */
export class Sdk {
  readonly root: string;
  readonly version: string;
  readonly protocol: Protocol;

  private constructor(root: string, version: string, protocol: Protocol) {
    this.root = root;
    this.version = version;
    this.protocol = protocol;
  }

  /** @throws EngineError ENGINE_SDK when no copy can be resolved from `programDir`. */
  static load(programDir: string): Sdk {
    const fromProgram = createRequire(path.join(programDir, "index.js"));
    let manifestFile: string;
    try {
      manifestFile = fromProgram.resolve("@pulumi/pulumi/package.json");
    } catch (cause) {
      throw new EngineError(
        "ENGINE_SDK",
        `@pulumi/pulumi cannot be loaded from ${programDir}: run "npm install" there, or add it to the project.`,
        { cause },
      );
    }
    const { version } = JSON.parse(fs.readFileSync(manifestFile, "utf8")) as { version: string };
    const load = createRequire(manifestFile);
    const protocol = {
      alias: load("./proto/alias_pb.js"),
      engine: load("./proto/engine_pb.js"),
      engineRpc: load("./proto/engine_grpc_pb.js"),
      provider: load("./proto/provider_pb.js"),
      providerRpc: load("./proto/provider_grpc_pb.js"),
      resource: load("./proto/resource_pb.js"),
      resourceRpc: load("./proto/resource_grpc_pb.js"),
      status: load("./proto/status_pb.js"),
      empty: load("google-protobuf/google/protobuf/empty_pb.js"),
      struct: load("google-protobuf/google/protobuf/struct_pb.js"),
    } as Protocol;
    return new Sdk(path.dirname(manifestFile), version, protocol);
  }

  /** The script that runs a program. */
  get runScript(): string {
    return path.join(this.root, "cmd", "run");
  }

  /** The script that is the provider of dynamic resources. */
  get dynamicProviderScript(): string {
    return path.join(this.root, "cmd", "dynamic-provider");
  }

  toStruct(map: PropertyMap): Struct.Struct {
    return this.protocol.struct.Struct.fromJavaScript(map);
  }
}

/** An absent message is an empty map. */
export function fromStruct(struct: Struct.Struct | undefined): PropertyMap {
  return struct === undefined ? {} : (struct.toJavaScript() as PropertyMap);
}
