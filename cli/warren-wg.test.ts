/** The words and variables that `warren-wg` takes; nothing here needs an interface. */
import * as path from "node:path";
import { run } from "../test/support/process";
import { ROOT } from "../test/support/repo";

const PROGRAM = path.join(ROOT, "dist", "cli", "warren-wg.js");
const start = (args: readonly string[], env: Record<string, string> = {}) =>
  run([process.execPath, PROGRAM, ...args], { mayFail: true, env });

it.each([["--help"], ["-h"], ["-f", "wg0", "--help"]])("%j prints its usage", async (...args) => {
  const { code, stdout } = await start(args);
  expect({ code, usage: stdout.startsWith("Usage: warren-wg [-f | --foreground] INTERFACE\n") }).toEqual({
    code: 0,
    usage: true,
  });
});

it.each([
  [[], "Usage: warren-wg [-f | --foreground] INTERFACE"],
  [["wg0", "wg1"], "Usage: warren-wg [-f | --foreground] INTERFACE"],
  [["-x", "wg0"], "There is no option -x."],
  [["a/b"], '"a/b" is no interface name'],
  [["a b"], '"a b" is no interface name'],
  [[".."], '".." is no interface name'],
  [["sixteenletters16"], "sixteenletters16 is too long for an interface name: at most 15 characters."],
  [["-f", "ä".repeat(8)], "is too long for an interface name"],
] as const)("%j is refused with a sentence", async (args, sentence) => {
  const { code, stderr } = await start(args);
  expect(stderr).toContain(`warren-wg: `);
  expect(stderr).toContain(sentence);
  expect(stderr).not.toContain("    at ");
  expect(code).toBe(1);
});

it.each(["WG_TUN_FD", "WG_UAPI_FD"])("%s must be the number of a descriptor", async (variable) => {
  for (const args of [["wg0"], ["-f", "wg0"]]) {
    const { code, stderr } = await start(args, { [variable]: "three" });
    expect({ code, stderr }).toEqual({ code: 1, stderr: `warren-wg: ${variable}=three is no descriptor number.\n` });
  }
});
