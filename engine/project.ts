import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { EngineError, messageOf } from "./errors";
import type { Crypter } from "./secrets";

/** What Pulumi.yaml says. */
export interface Project {
  name: string;
  /** Folder of Pulumi.yaml. */
  root: string;
  /** Working directory of the program and the provider. */
  programDir: string;
  /** What Node is to run, relative to `programDir`. */
  entryPoint: string;
  /** Whether TypeScript is compiled on the fly. */
  typescript: boolean;
  nodeArgs: string[];
  /** Default configuration: as written, keys with or without namespace. */
  config: Record<string, unknown>;
  /** What Pulumi.<stack>.yaml says: as written. */
  stackConfig: Record<string, unknown>;
  /** Pulumi's salt for secrets in Pulumi.<stack>.yaml. */
  encryptionSalt?: string;
}

/** Configuration ready for the program: full keys `namespace:name`, plain values, and which of them are secret. */
export interface ProgramConfig {
  values: Record<string, string>;
  secretKeys: string[];
}

const STACK_NAME = /^[A-Za-z0-9_.-]{1,100}$/;

/** Reads Pulumi.yaml and Pulumi.<stack>.yaml. @throws EngineError ENGINE_PROJECT, ENGINE_UNSUPPORTED */
export function readProject(projectDir: string, stack: string): Project {
  const root = path.resolve(projectDir);
  if (!STACK_NAME.test(stack)) {
    throw new EngineError("ENGINE_PROJECT", `"${stack}" is no stack name: use letters, digits, "-", "_" and ".".`);
  }
  const file = findYaml(root, "Pulumi");
  if (file === undefined) throw new EngineError("ENGINE_PROJECT", `${root} has no Pulumi.yaml.`);
  const yaml = readYaml(file);
  const name = yaml.name;
  if (typeof name !== "string" || !STACK_NAME.test(name)) {
    throw new EngineError("ENGINE_PROJECT", `${file}: "name" is missing or not a project name.`);
  }
  const runtime = typeof yaml.runtime === "object" && yaml.runtime !== null ? yaml.runtime : { name: yaml.runtime };
  const { name: runtimeName, options = {} } = runtime as { name?: unknown; options?: Record<string, unknown> };
  if (runtimeName !== "nodejs") {
    throw new EngineError(
      "ENGINE_UNSUPPORTED",
      `${file}: runtime "${String(runtimeName)}" is not supported; the embedded engine runs "nodejs".`,
    );
  }
  const { programDir, entryPoint } = locateProgram(root, yaml.main, file);
  const stackFile = findYaml(root, `Pulumi.${stack}`);
  const stackYaml = stackFile === undefined ? {} : readYaml(stackFile);
  for (const key of ["secretsprovider", "encryptedkey"]) {
    const value = stackYaml[key];
    if (value !== undefined && value !== "passphrase") {
      throw new EngineError("ENGINE_UNSUPPORTED", `${stackFile}: "${key}" is not supported; use a passphrase.`);
    }
  }
  const project: Project = {
    name,
    root,
    programDir,
    entryPoint,
    typescript: options.typescript !== false && needsTypeScript(programDir, entryPoint),
    nodeArgs: typeof options.nodeargs === "string" ? options.nodeargs.split(/\s+/).filter(Boolean) : [],
    config: asMap(yaml.config),
    stackConfig: asMap(stackYaml.config),
  };
  if (typeof stackYaml.encryptionsalt === "string") project.encryptionSalt = stackYaml.encryptionsalt;
  return project;
}

function findYaml(root: string, base: string): string | undefined {
  return [".yaml", ".yml"].map((ext) => path.join(root, base + ext)).find((file) => fs.existsSync(file));
}

function readYaml(file: string): Record<string, unknown> {
  try {
    return asMap(parse(fs.readFileSync(file, "utf8")));
  } catch (cause) {
    throw new EngineError("ENGINE_PROJECT", `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function asMap(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** `main` may be a folder or a file; Pulumi runs the program in that folder. */
function locateProgram(root: string, main: unknown, file: string): { programDir: string; entryPoint: string } {
  if (main === undefined || main === null || main === "") return { programDir: root, entryPoint: "." };
  const target = path.resolve(root, String(main));
  const inside = path.relative(root, target);
  if (inside.startsWith("..") || path.isAbsolute(inside)) {
    throw new EngineError("ENGINE_PROJECT", `${file}: "main" must lie within the project.`);
  }
  if (!fs.existsSync(target))
    throw new EngineError("ENGINE_PROJECT", `${file}: "main" names ${target}, which is not there.`);
  if (fs.statSync(target).isDirectory()) return { programDir: target, entryPoint: "." };
  return { programDir: path.dirname(target), entryPoint: path.basename(target) };
}

/**
 * False only for a program that is plain JavaScript for sure: loading the compiler costs a second. A tsconfig.json, or
 * an entry point that is not a .js file, means TypeScript.
 */
function needsTypeScript(programDir: string, entryPoint: string): boolean {
  if (fs.existsSync(path.join(programDir, "tsconfig.json"))) return true;
  if (entryPoint !== ".") return !/\.[cm]?js$/.test(entryPoint);
  let main = "index.js";
  try {
    const manifest = JSON.parse(fs.readFileSync(path.join(programDir, "package.json"), "utf8")) as { main?: string };
    main = manifest.main ?? main;
  } catch {
    // No package.json: Node looks for index.js.
  }
  if (fs.existsSync(path.join(programDir, "index.ts")) && main === "index.js") return true;
  return !(/\.[cm]?js$/.test(main) && fs.existsSync(path.join(programDir, main)));
}

/** True when any stack value is encrypted. */
export function hasSecureConfig(project: Project): boolean {
  return Object.values(project.stackConfig).some(containsSecure);
}

function secureText(value: unknown): string | undefined {
  const map = asMap(value);
  return Object.keys(map).length === 1 && typeof map.secure === "string" ? map.secure : undefined;
}

function containsSecure(value: unknown): boolean {
  if (secureText(value) !== undefined) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(containsSecure);
}

function reveal(value: unknown, crypter: Crypter | undefined): unknown {
  const secure = secureText(value);
  if (secure !== undefined) {
    if (crypter === undefined) {
      throw new EngineError("ENGINE_PROJECT", 'A "secure" value needs "encryptionsalt" in Pulumi.<stack>.yaml.');
    }
    return crypter.decrypt(secure);
  }
  if (Array.isArray(value)) return value.map((item) => reveal(item, crypter));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, reveal(item, crypter)]));
  }
  return value;
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * Defaults of the project, then the stack's values, then `overrides`; the later one wins.
 * @throws EngineError ENGINE_PROJECT for a value that the project declares and nobody sets.
 */
export function mergeConfig(
  project: Project,
  overrides: Record<string, string>,
  crypter: Crypter | undefined,
): ProgramConfig {
  const values: Record<string, string> = {};
  const secret = new Set<string>();
  const fullKey = (key: string) => (key.includes(":") ? key : `${project.name}:${key}`);
  const required: string[] = [];
  for (const [key, declared] of Object.entries(project.config)) {
    const schema = asMap(declared);
    const isSchema = typeof declared === "object" && declared !== null && !Array.isArray(declared);
    const value = isSchema ? (schema.value ?? schema.default) : declared;
    if (value !== undefined && value !== null) values[fullKey(key)] = asText(value);
    else if (isSchema && schema.type !== undefined) required.push(fullKey(key));
    if (isSchema && schema.secret === true) secret.add(fullKey(key));
  }
  for (const [key, value] of Object.entries(project.stackConfig)) {
    values[fullKey(key)] = asText(reveal(value, crypter));
    if (containsSecure(value)) secret.add(fullKey(key));
  }
  for (const [key, value] of Object.entries(overrides)) values[fullKey(key)] = value;
  for (const key of required) {
    if (values[key] === undefined) {
      throw new EngineError("ENGINE_PROJECT", `Configuration "${key}" is required by Pulumi.yaml and not set.`);
    }
  }
  return { values, secretKeys: [...secret].filter((key) => values[key] !== undefined).sort() };
}
