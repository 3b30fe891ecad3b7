import { Deployment, protectedError } from "./deployment";
import { EngineError, messageOf } from "./errors";
import { removeInOrder } from "./graph";
import { EngineServer } from "./monitor";
import { EXIT_ALREADY_REPORTED, Program } from "./program";
import { readProject } from "./project";
import { refreshAll } from "./refresh";
import { cancelled, DEFAULT_STACK, finishRunning, openDeployment, outputsOf, passphraseOf, Session } from "./session";
import { StackFiles } from "./store";
import type { OutputsOptions, StackOptions, Summary } from "./types";
import { isSecret, type PropertyMap, revealSecrets, type Value } from "./values";

/** What `up` would do. Changes nothing: neither resources nor state. */
export function preview(options: StackOptions): Promise<Summary> {
  return withSession("preview", options, runProgram);
}

/** Makes the program true. @throws EngineError; the state is true whatever is thrown. */
export function up(options: StackOptions): Promise<Summary> {
  return withSession("up", options, runProgram);
}

/** Asks the provider what is really there, and writes that into the state. */
export function refresh(options: StackOptions): Promise<Summary> {
  return withSession("refresh", options, async (session, deployment) => {
    const outputs = await refreshAll(session, deployment);
    return session.summary(deployment.steps.counts, outputs);
  });
}

/** Deletes everything that the state holds. */
export function destroy(options: StackOptions): Promise<Summary> {
  return withSession("destroy", options, async (session, deployment) => {
    await removeLeftovers(session, deployment);
    return session.summary(deployment.steps.counts, {});
  });
}

/** The stack's outputs as the last `up` left them; none for a stack that does not exist. */
export async function outputs(
  options: StackOptions,
  { showSecrets = false }: OutputsOptions = {},
): Promise<Record<string, unknown>> {
  const stack = options.stack ?? DEFAULT_STACK;
  const project = readProject(options.projectDir, stack);
  const files = new StackFiles(options.stateDir, project.name, stack);
  const file = files.read();
  if (file === undefined) return {};
  const deployment = await openDeployment(file, () => passphraseOf(options, files));
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(outputsOf(deployment))) {
    result[key] = showSecrets ? revealSecrets(value) : hideSecrets(value);
  }
  return result;
}

function hideSecrets(value: Value): Value {
  if (isSecret(value)) return "[secret]";
  if (Array.isArray(value)) return value.map(hideSecrets);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, hideSecrets(child)])) as PropertyMap;
}

async function withSession(
  operation: Session["operation"],
  options: StackOptions,
  run: (session: Session, deployment: Deployment, server: EngineServer) => Promise<Summary>,
): Promise<Summary> {
  const session = await Session.open(operation, options);
  const deployment = new Deployment({
    project: session.project.name,
    stack: session.stack,
    dryRun: session.dryRun,
    parallel: session.parallel,
    snapshot: session.snapshot,
    config: session.config.values,
    provider: session.provider,
    stackOutputs: session.stackOutputs,
    emit: session.emit,
  });
  const abort = () => deployment.stop(cancelled());
  options.signal?.addEventListener("abort", abort);
  let server: EngineServer | undefined;
  try {
    server = await EngineServer.start(session.sdk, deployment, session.emit);
    session.engineAddress = server.address;
    session.emit({ kind: "start", operation, project: session.project.name, stack: session.stack });
    if (session.snapshot.unfinished.length > 0) warnUnfinished(session);
    return await run(session, deployment, server);
  } catch (error) {
    if (EngineError.is(error)) throw error;
    throw new EngineError("ENGINE_INTERNAL", messageOf(error), { cause: error });
  } finally {
    options.signal?.removeEventListener("abort", abort);
    await session.close();
    server?.stop();
  }
}

function warnUnfinished(session: Session): void {
  const urns = session.snapshot.unfinished.map(({ resource }) => resource.urn);
  session.emit({
    kind: "diagnostic",
    severity: "warning",
    message: `An earlier run was interrupted while it created these, so they may exist unrecorded: ${urns.join(", ")}.`,
  });
}

async function runProgram(session: Session, deployment: Deployment, server: EngineServer): Promise<Summary> {
  const program = new Program({
    sdk: session.sdk,
    project: session.project,
    stack: session.stack,
    dryRun: session.dryRun,
    parallel: session.parallel,
    config: session.config.values,
    secretKeys: session.config.secretKeys,
    env: session.env,
    address: server.address,
    onLine: (stream, line) => session.emit({ kind: "output", source: "program", stream, line }),
  });
  try {
    // The provider takes as long to start as the program: start it beside, where it will be needed.
    if (session.snapshot.base.some(({ provider }) => provider !== undefined)) session.provider().catch(() => {});
    const end = await Promise.race([program.exited, deployment.stopped]);
    if (end instanceof Error) {
      await finishRunning(session, deployment);
      throw end;
    }
    if (end.code !== 0) {
      const failure = programFailed(end, server.errors);
      deployment.stop(failure);
      await finishRunning(session, deployment);
      throw failure;
    }
    await deployment.settled();
    if (deployment.failure !== undefined) {
      await finishRunning(session, deployment);
      throw deployment.failure;
    }
    await removeLeftovers(session, deployment);
    return session.summary(deployment.steps.counts, deployment.stackOutputs);
  } finally {
    await program.stop();
  }
}

function programFailed(end: { code: number | null; signal: string | null }, errors: string[]): EngineError {
  const [first = ""] = errors;
  if (end.code === EXIT_ALREADY_REPORTED || first !== "") {
    return new EngineError("ENGINE_PROGRAM_FAILED", `The program failed: ${first || "see its output"}`);
  }
  return new EngineError("ENGINE_PROGRAM_FAILED", `The program ended with ${end.signal ?? `code ${end.code}`}.`);
}

/** Deletes what the state holds and the program did not register, in reverse order of dependency; saves the state. */
async function removeLeftovers(session: Session, deployment: Deployment): Promise<void> {
  const doomed = session.snapshot.remaining();
  for (const { urn, protect, delete: replaced, pendingReplacement } of doomed) {
    if (protect !== true || replaced === true || pendingReplacement === true) continue;
    const failure = protectedError(urn, "deleted");
    deployment.steps.reportFailure(failure);
    deployment.stop(failure);
  }
  const urns = new Set(doomed.map(({ urn }) => urn));
  await removeInOrder(
    doomed,
    (state) => deployment.limit.run(() => deployment.steps.delete(state, urns)),
    () => deployment.failure !== undefined,
    deployment.stopped,
  ).catch((error: unknown) => deployment.stop(error as Error));
  if (deployment.failure !== undefined) {
    await finishRunning(session, deployment);
    throw deployment.failure;
  }
  if (!session.dryRun) await session.snapshot.save();
}
