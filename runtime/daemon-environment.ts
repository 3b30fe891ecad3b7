/** What a daemon gets of the environment of whoever starts it, hook, command or keeper: never a program's secrets. */
const NAMES = [
  "WARREN_LINK",
  "WARREN_AEAD",
  "WARREN_IO",
  "WARREN_EGRESS_ALLOW",
  "WARREN_IDLE_SECONDS",
  "PATH",
  "HOME",
  "LANG",
  "TMPDIR",
  "XDG_RUNTIME_DIR",
] as const;

export function daemonEnvironment(homeDir: string, env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const kept: Record<string, string> = { WARREN_HOME: homeDir };
  for (const name of NAMES) if (env[name] !== undefined) kept[name] = env[name];
  return kept;
}
