/** `warren service install`: a systemd service (of the user, or of the system for root) that brings the daemon back after a reboot. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { WarrenError } from "../../runtime/errors";
import { homeDir } from "../../runtime/home";
import { type Context, print, printJson } from "../context";

/** The unit's text. The keeper and the apps are not of the unit's life: a restart of the service costs a handshake, never an app. */
export function unitText(options: { node: string; program: string; home: string; system: boolean }): string {
  return [
    "[Unit]",
    "Description=Warren: private networks for apps",
    "After=network-online.target",
    "Wants=network-online.target",
    "",
    "[Service]",
    `ExecStart=${quote(options.node)} ${quote(options.program)} serve --stay`,
    `Environment=${quote(`WARREN_HOME=${options.home}`)}`,
    "Restart=always",
    "RestartSec=1",
    "KillMode=process",
    "",
    "[Install]",
    `WantedBy=${options.system ? "multi-user.target" : "default.target"}`,
    "",
  ].join("\n");
}

/** systemd: backslash and double quote are escaped in a quoted word, % starts a specifier. */
function quote(word: string): string {
  return `"${word.replace(/[\\"]/g, "\\$&").replaceAll("%", "%%")}"`;
}

export function installService({ json }: Context): void {
  const system = process.getuid?.() === 0;
  const dir = system
    ? "/etc/systemd/system"
    : path.join(process.env.XDG_CONFIG_HOME || path.join(os.homedir(), ".config"), "systemd", "user");
  if (!hasSystemd())
    throw new WarrenError(
      "WARREN_UNSUPPORTED",
      'This machine is not run by systemd: start "warren serve --stay" from its own service manager instead.',
    );
  const file = path.join(dir, "warren.service");
  const text = unitText({ node: process.execPath, program: process.argv[1] as string, home: homeDir(), system });
  fs.mkdirSync(dir, { recursive: true });
  fs.writeFileSync(file, text);
  const scope = system ? [] : ["--user"];
  systemctl([...scope, "daemon-reload"]);
  systemctl([...scope, "enable", "--now", "warren.service"]);
  const lingering = system ? "" : ` Run "loginctl enable-linger" to have it run while you are not logged in.`;
  if (json) printJson({ unit: file });
  else print(`Installed and started ${file}.${lingering}`);
}

function hasSystemd(): boolean {
  return fs.existsSync("/run/systemd/system");
}

function systemctl(args: readonly string[]): void {
  const result = spawnSync("systemctl", args, { encoding: "utf8" });
  if (result.status === 0) return;
  const why = result.error?.message ?? result.stderr.trim();
  throw new WarrenError("WARREN_INTERNAL", `"systemctl ${args.join(" ")}" failed: ${why}`, { cause: result.error });
}
