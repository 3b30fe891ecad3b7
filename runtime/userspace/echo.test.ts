/** Echo requests that leave the machine, in a namespace that has ping sockets or not, of an account that may have raw ones or not. */
import { execFile } from "node:child_process";
import * as path from "node:path";
import { promisify } from "node:util";
import { Namespace } from "../../test/support/namespace";
import { describeNeeding } from "../../test/support/needs";
import { ROOT } from "../../test/support/repo";
import { useScratch } from "../../test/support/scratch";

const run = promisify(execFile);

/** Asks each address twice at once, and one that nobody has; prints what comes back. */
const PROGRAM = `
const { EchoSocket } = require(${JSON.stringify(path.join(ROOT, "dist/runtime/userspace/echo.js"))});
const echo = EchoSocket.open();
if (!echo) console.log("no echo");
else {
  const said = [];
  const asked = ["198.51.100.7", "fd00:7::7", "198.51.100.7", "fd00:7::7"].filter((address) => echo.handles(address));
  asked.forEach((address, i) => {
    const data = Buffer.alloc(i * 500, i);
    echo.send(address, data, (back) => said.push(address + " " + back.length + " " + data.equals(back)));
  });
  echo.send("203.0.113.9", Buffer.from("nobody"), () => said.push("nobody answered"));
  const end = setInterval(() => {
    if (said.length < asked.length) return;
    clearInterval(end);
    console.log(said.sort().join("\\n"));
    echo.close();
  }, 10);
}`;
const ANSWERS = ["198.51.100.7 0 true", "198.51.100.7 1000 true", "fd00:7::7 1500 true", "fd00:7::7 500 true"];

describeNeeding(["linux", "root", "ip"], "echo", () => {
  const scratch = useScratch();
  let ns: Namespace;
  beforeAll(async () => {
    ns = await Namespace.create(scratch, "e");
    for (const address of ["198.51.100.7/32", "fd00:7::7/128"]) await ns.addAddress("lo", address);
  });

  test.each([
    ["through raw sockets, for root where the machine has no ping sockets", "1 0", 0, ANSWERS],
    ["through ping sockets, for an account that has no privileges", "0 65534", 65_534, ANSWERS],
    ["not at all where there is neither", "1 0", 65_534, ["no echo"]],
  ])("%s", async (_how, groups, uid, expected) => {
    await run("ip", ["netns", "exec", ns.name, "sysctl", "-w", `net.ipv4.ping_group_range=${groups}`]);
    const account = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    const argv = ["netns", "exec", ns.name, ...account, process.execPath, "-e", PROGRAM];
    const { stdout } = await run("ip", argv, { timeout: 15_000, cwd: "/" });
    expect(stdout.trim().split("\n")).toEqual(expected);
  });
});
