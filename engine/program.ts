import { type ExitStatus, NodeChild } from "./child";
import type { Project } from "./project";
import { configEnvironment } from "./provider";
import type { Sdk } from "./sdk";

/** Pulumi's name for the organization of stacks that live in files. */
export const ORGANIZATION = "organization";

/** The program ended after it had reported its error itself (cmd/run of @pulumi/pulumi). */
export const EXIT_ALREADY_REPORTED = 32;

export interface ProgramOptions {
  sdk: Sdk;
  project: Project;
  stack: string;
  dryRun: boolean;
  parallel: number;
  config: Record<string, string>;
  secretKeys: string[];
  env: NodeJS.ProcessEnv;
  /** `host:port` of the ResourceMonitor and Engine services. */
  address: string;
  onLine(stream: "stdout" | "stderr", line: string): void;
}

/** The arguments of `cmd/run`, as Pulumi's Node language host passes them (constructArguments). */
export function programArguments(options: ProgramOptions): string[] {
  const { project, address } = options;
  return [
    ...["--monitor", address, "--engine", address],
    ...["--organization", ORGANIZATION, "--project", project.name],
    ...["--root-directory", project.root, "--stack", options.stack, "--pwd", project.programDir],
    ...(options.dryRun ? ["--dry-run"] : []),
    ...["--parallel", String(options.parallel), project.entryPoint],
  ];
}

/** Runs the user's program in a process of its own with the unmodified `cmd/run` of its SDK. */
export class Program {
  readonly #child: NodeChild;

  constructor(options: ProgramOptions) {
    const env: NodeJS.ProcessEnv = {
      ...options.env,
      ...configEnvironment(options.config, options.secretKeys),
    };
    if (options.project.typescript) env.PULUMI_NODEJS_TYPESCRIPT = "true";
    this.#child = new NodeChild({
      script: options.sdk.runScript,
      nodeArgs: options.project.nodeArgs,
      args: programArguments(options),
      cwd: options.project.programDir,
      env,
      onLine: options.onLine,
    });
  }

  get exited(): Promise<ExitStatus> {
    return this.#child.exited;
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}
