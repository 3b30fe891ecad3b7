/** How an app's command becomes a process of the right account, in the right folder, with the right environment. */
import { execFileSync } from "node:child_process";
import { type Account, becomeAccount } from "./account";
import type { AppSandbox } from "./app-sandbox";
import { splitEnvironment } from "./loader-environment";
import type { ProcessSpec } from "./protocol";
import { tool } from "./tools";

export interface LaunchCommand {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly uid?: number;
  readonly gid?: number;
  /** True: nothing stands between keeper and command, so that a failed spawn is the command's own. */
  readonly direct: boolean;
}

let tried: boolean | undefined;

/** Whether this machine's setpriv and env can do what is asked of them: those of other systems and of busybox cannot. */
function hasLaunchTools(): boolean {
  if (tried === undefined)
    try {
      const own: Account = { name: "", uid: process.geteuid!(), gid: process.getegid!(), listed: false };
      const [file, ...args] = [...becomeAccount(own, true, false), tool("env"), "--chdir=/", "--", "true"];
      execFileSync(file as string, args, { stdio: "ignore", timeout: 10_000, env: {} });
      tried = true;
    } catch {
      tried = false;
    }
  return tried;
}

/** @throws WarrenError WARREN_APP_FAILED for an account that the keeper may not give it. */
export function launchCommand(sandbox: AppSandbox, spec: ProcessSpec, account: Account): LaunchCommand {
  const env = { ...spec.env, ...sandbox.environment };
  if (sandbox.link === "userspace" && !hasLaunchTools()) {
    const other = account.uid !== process.geteuid!();
    // Refuses what is not allowed in the same words.
    if (other && !sandbox.privileged) becomeAccount(account, false, false);
    return {
      argv: spec.command,
      cwd: spec.cwd,
      env,
      ...(other ? { uid: account.uid, gid: account.gid } : {}),
      direct: true,
    };
  }
  const { before, assignments } = splitEnvironment(env);
  return {
    argv: [
      ...sandbox.enter(),
      ...becomeAccount(account, true, sandbox.privileged),
      tool("env"),
      // By the account itself and in the sandbox, so that what it may not enter fails.
      `--chdir=${spec.cwd}`,
      "--",
      ...assignments,
      ...spec.command,
    ],
    cwd: "/",
    env: before,
    direct: false,
  };
}
