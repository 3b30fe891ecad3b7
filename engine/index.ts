/**
 * The embedded engine: runs a Pulumi Node program whose custom resources are dynamic, without the Pulumi CLI. It is no
 * replacement for Pulumi: what it does not support is refused by name.
 */

export { EngineError, type EngineErrorCode } from "./errors";
export { destroy, outputs, preview, refresh, up } from "./operations";
export { createRenderer, type Renderer, type RendererOptions } from "./render";
export type {
  EngineEvent,
  Op,
  Operation,
  OutputsOptions,
  ResourceMetadata,
  Severity,
  StackOptions,
  StackOutput,
  Summary,
} from "./types";
