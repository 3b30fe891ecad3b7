#!/usr/bin/env node
/** The program `warren`. Each command loads what it needs: the daemon must not carry the CLI's libraries, nor the CLI the daemon's. */
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { VERSION } from "../runtime/version";
import type { StackFlags, StackOperation } from "./commands/stack";

function main(argv: string[]): Promise<unknown> {
  const program = new Command("warren")
    .description("Private networks for your apps, declared in a Pulumi program.")
    .version(VERSION)
    .option("--json", "one JSON value on standard output, for programs")
    .enablePositionalOptions()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeErr: () => undefined })
    .exitOverride();
  // Everywhere but in the command that `exec` runs.
  const options = argv.slice(0, argv.includes("exec") ? argv.indexOf("exec") : argv.length);
  const json = () => options.includes("--json");
  const command = (name: string, description: string, parent = program) =>
    parent.command(name).description(description).option("--json", "one JSON value on standard output");

  command("serve", "run control, agent and data plane in the foreground (hooks and commands do this by themselves)")
    .option("--stay", "go on when no network is declared")
    .option("--stop", "end the running daemon with its apps; what is declared comes back with the next command")
    .action(async (options) => {
      if (options.stop) await (await import("./commands/stop.js")).stop({ json: json() });
      else await (await import("../runtime/serve.js")).serve({ stay: options.stay === true });
    });
  const service = command("service", "the daemon as a systemd service");
  command("install", "install and start it; it comes back after a reboot", service).action(async () =>
    (await import("./commands/service.js")).installService({ json: json() }),
  );
  command("status", "what runs here, and what is wrong").action(async () => (await shows()).status({ json: json() }));
  command("networks", "the networks").action(async () => (await shows()).networks({ json: json() }));
  command("peers", "who holds which address")
    .option("--app [name]", "only apps, or only this one")
    .action(async (options) => (await shows()).peers({ json: json(), app: options.app }));
  command("apps", "the apps and how they do").action(async () => (await shows()).apps({ json: json() }));
  command("dig <name> [type]", "ask a network's DNS, as its members do")
    .option("--as <member>", "the app or peer that asks; default: this machine")
    .option("-i, --instance <slot>", "of the app that asks: an instance (ord/0) or a region")
    .option("--network <name>", "the network, where there are several")
    .option("--short", "only the data")
    .action(async (name, type, options) =>
      (await import("./commands/dig.js")).dig(name, type, {
        json: json(),
        short: options.short === true,
        as: options.as,
        instance: options.instance,
        network: options.network,
      }),
    );
  const wg = program.command("wg").description("the tunnels as WireGuard's own tools see them");
  command("show [network]", "what `wg show` tells root, also for others", wg).action(async (network) =>
    (await import("./commands/wg.js")).wgShow(network, { json: json() }),
  );
  command(
    "proxy <forwards...>",
    "ports of this machine that lead into a network: LOCAL:NAME:REMOTE[/udp], until Ctrl-C",
  )
    .option("--network <name>", "the network, where there are several")
    .action(async (forwards, options) =>
      (await import("./commands/proxy.js")).proxy(forwards, { json: json(), network: options.network }),
    );
  command("ping <name>", "echo requests through the tunnels, from a gateway of this machine")
    .option("-c, --count <count>", "how many", wholeNumber, 4)
    .option("-i, --interval <seconds>", "from one to the next", seconds, 1)
    .option("-W, --timeout <seconds>", "for each reply", seconds, 2)
    .option("--network <name>", "the network, where there are several")
    .action(async (name, options) => (await import("./commands/ping.js")).ping(name, { ...options, json: json() }));
  command("trace <from> <to>", "walk the way from a member to NAME[:PORT][/udp], and name the first broken step")
    .option("-i, --instance <slot>", "of the app that asks: an instance (ord/0) or a region")
    .option("--network <name>", "the network, where there are several")
    .action(async (from, to, options) =>
      (await import("./commands/trace.js")).traceCommand(from, to, { ...options, json: json() }),
    );
  command("doctor", "look at the whole machine: what Warren needs, what it has, what to do").action(async () =>
    (await import("./commands/doctor.js")).doctor({ json: json() }),
  );
  command("config <peer>", "a peer's wg-quick file, without its key")
    .option("--qr", "as a QR code")
    .action(async (peer, options) =>
      (await import("./commands/config.js")).config(peer, { json: json(), qr: options.qr }),
    );
  const policy = command("policy", "who may talk to whom");
  command(
    "check [network]",
    "show who reaches whom, and what is wrong with the rules; exit code 1 for errors, 0 for mere warnings",
    policy,
  ).action(async (network) => (await import("./commands/policy.js")).policyCheck(network, { json: json() }));
  program
    .command("exec <app>")
    .description("run a command where an app runs: warren exec APP -- CMD [ARG...]")
    .option("-i, --instance <slot>", "an instance (ord/0) or a region; default: the first healthy one")
    .argument("[command...]")
    .passThroughOptions()
    .action(async (app, words, options) => {
      const command = words[0] === "--" ? words.slice(1) : words;
      process.exitCode = await (await import("./commands/exec.js")).exec(app, command, options.instance);
    });
  command("logs <app>", "what an app wrote")
    .option("-f, --follow", "go on with what it writes from now")
    .option("-n, --lines <count>", "lines to begin with", wholeNumber, 100)
    .option("-i, --instance <slot>", "an instance (ord/0) or a region; default: the first healthy one")
    .action(async (app, options) =>
      (await import("./commands/exec.js")).logs(app, {
        json: json(),
        follow: options.follow === true,
        lines: options.lines,
        instance: options.instance,
      }),
    );

  const stack = (name: string, description: string) =>
    command(name, description)
      .argument("[dir]", "the folder of the Pulumi program", ".")
      .option("-s, --stack <name>", "the stack", "dev")
      .option("-c, --config <key=value>", "configuration of this run; may be repeated", collect, [])
      .option("--show-secrets", "show secret outputs in plain text");
  const operations: Record<StackOperation, string> = {
    preview: "show what `up` would do",
    up: "make a Pulumi program come true, on the embedded engine",
    refresh: "compare a stack's state with what is there",
    destroy: "remove all that a stack has",
  };
  for (const [name, description] of Object.entries(operations) as [StackOperation, string][])
    stack(name, description)
      .option("-p, --parallel <count>", "operations at one time", wholeNumber)
      .action(async (dir, options) =>
        (await import("./commands/stack.js")).runStack(name, dir, { ...options, json: json() } as StackFlags),
      );
  stack("output", "a stack's outputs, or one of them")
    .argument("[name]", "an output")
    .action(async (dir, name, options) =>
      (await import("./commands/stack.js")).showOutputs(dir, name, { ...options, json: json() } as StackFlags),
    );

  return program.parseAsync(argv).catch((error: Error) => {
    // --help and --version have said what they had to say.
    if (error instanceof CommanderError && error.exitCode === 0) return;
    // No command at all.
    if (error instanceof CommanderError && error.code === "commander.help")
      process.stderr.write(program.helpInformation());
    else report(error, json());
    process.exitCode = 1;
  });
}

/** One clear sentence on standard error; a stack only for what nobody foresaw. */
function report(error: Error & { code?: string; path?: string; failures?: unknown }, json: boolean): void {
  const usage = error instanceof CommanderError;
  const message = usage ? `${error.message.replace(/^error: /, "")} (warren --help shows the commands)` : error.message;
  const known = usage || (typeof error.code === "string" && /^(WARREN|ENGINE)_/.test(error.code));
  const code = usage ? "WARREN_INVALID_INPUT" : known ? error.code : "WARREN_INTERNAL";
  const { path, failures } = error;
  if (json) process.stderr.write(`${JSON.stringify({ error: { code, message, path, failures } })}\n`);
  else process.stderr.write(`warren: ${known ? message : (error.stack ?? message)}\n`);
}

function shows() {
  return import("./commands/show.js");
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("a whole number is needed.");
  return Number(text);
}

function seconds(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError("a number of seconds is needed.");
  return Number(text);
}

function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // `warren status | head`: the reader has seen enough.
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
void main(process.argv);
