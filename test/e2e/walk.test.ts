/** `warren ping`, `trace` and `doctor` on a network that works, and on one where something is wrong. */

import { Stage } from "../examples/stage";
import { describeNeeding } from "../support/needs";
import { Program } from "../support/process";
import { Scratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { WARREN } from "./machine";

/** `/close` makes it deaf. */
const server = `
const server = require("node:http").createServer((q, r) => {
  r.setHeader("connection", "close").end("hi");
  if (q.url === "/close") server.close();
});
server.listen(process.env.PORT, "0.0.0.0");
setInterval(() => {}, 1000);`;
const program = (west: string) => `
const network = new warren.Network("net", { cidr: "10.9.0.0/24" });
new warren.Peer("laptop", { network });
new warren.App("east", { network, region: "ord", command: [process.execPath, "server.js"] });
new warren.App("west", { network, region: "iad", command: [process.execPath, "server.js"], ${west} });`;

describeNeeding(["linux", "ip"], "ping, trace, doctor", () => {
  const scratch = new Scratch();
  const stage = new Stage(scratch);
  const up = (west: string) => stage.stack("up", stage.program("walk", program(west), { "server.js": server }));
  const tell = async (...args: string[]) => {
    const { code, stdout, stderr } = await stage.warren([...args], { mayFail: true });
    return { code, text: stdout + stderr };
  };
  beforeAll(() => up(""), 120_000);
  afterAll(() => scratch.dispose(), 60_000);

  it("ping reaches an app in another region by name", async () => {
    const { code, text } = await tell("ping", "west", "-c", "2", "-i", "0.1");
    expect(text).toMatch(
      /^reply of 10\.9\.0\.5: 1, [\d.]+ ms\nreply of 10\.9\.0\.5: 2, .*\n2 sent, 2 received, 0 % lost, /,
    );
    expect(code).toBe(0);
    const { times, address } = await stage.json<{ times: number[]; address: string }>(
      "ping",
      "west",
      "-c",
      "2",
      "-i",
      "0",
    );
    expect([times.length, times.every((time) => time > 0), address]).toEqual([2, true, "10.9.0.5"]);
    expect(await tell("ping", "nobody")).toEqual({ code: 1, text: "warren: nobody is no name in this network.\n" });
    const lost = await tell("ping", "laptop", "-c", "1", "-W", "0.5");
    expect(lost).toEqual({ code: 1, text: expect.stringContaining("1 sent, 0 received, 100 % lost") });
  }, 60_000);

  it("ping that is interrupted sends no more, and sums up", async () => {
    const argv = [process.execPath, WARREN, "ping", "west", "-i", "60"];
    const pinging = await Program.start(scratch, argv, { env: { WARREN_HOME: stage.home } });
    await pinging.said(/^reply of /m);
    pinging.signal("SIGINT");
    expect(await pinging.exited()).toBe("exit code 0");
    expect(pinging.stdout).toMatch(/^reply of .*\n1 sent, 1 received, 0 % lost, /);
  }, 30_000);

  it("trace walks to a connection", async () => {
    const { steps, ok } = await stage.json<{ ok: boolean; steps: { step: string }[] }>("trace", "east", "west:8080");
    expect(ok).toBe(true);
    expect(steps.map(({ step }) => step)).toEqual([
      ...["from", "name", "member", "policy", "route", "handshake", "link", "process", "connection"],
    ]);
    const shut = await tell("trace", "east", "west:81");
    expect(shut).toEqual({ code: 1, text: expect.stringMatching(/broken {2}connection .*10\.9\.0\.5:81\n$/) });
    const service = await tell("trace", "east", "west.flycast");
    expect(service).toEqual({ code: 0, text: expect.stringMatching(/which leads to west \(iad\/0\) first$/m) });
    const udp = await tell("trace", "east", "west:53/udp");
    expect(udp).toEqual({ code: 0, text: expect.stringMatching(/^ok +connection +UDP has none/m) });
    expect((await tell("trace", "east", "nobody")).text).toMatch(/broken {2}name /);
    expect((await tell("trace", "laptop", "west")).text).toMatch(/broken {2}handshake .* never heard of/);
  }, 60_000);

  it("doctor finds nothing broken", async () => {
    const { code, text } = await tell("doctor");
    expect(text).not.toMatch(/^broken/m);
    expect(text).toMatch(/^ok +port +UDP \d+ of host-ord is open$/m);
    expect(text).toMatch(/^note +endpoint +laptop reaches its gateway from this machine only/m);
    expect(code).toBe(0);
  }, 60_000);

  it("trace names a policy that closes the way; the packets agree", async () => {
    await up(`allow: ["laptop"]`);
    const { code, text } = await tell("trace", "east", "west");
    expect(text).toMatch(/broken {2}policy +what east may start towards west: nothing\n$/);
    expect(code).toBe(1);
    const curl = await stage.warren(["exec", "east", "--", "curl", "-sS", "-m", "5", "http://west.internal:8080"], {
      mayFail: true,
    });
    expect(curl.code).not.toBe(0);
    // This machine's own gateways may always ask.
    expect((await tell("ping", "west", "-c", "1")).code).toBe(0);
  }, 90_000);

  it("trace and doctor name an app that does not run", async () => {
    await up("");
    expect(await stage.curlFrom("east", "http://west.internal:8080/close")).toBe("hi");
    await waitFor("the end of its health", async () => (await tell("status")).text.includes("unhealthy"), {
      timeout: 40_000,
    });
    expect((await tell("trace", "east", "west")).text).toMatch(/broken {2}process +unhealthy/);
    expect(await tell("doctor")).toEqual({
      code: 1,
      text: expect.stringMatching(/^broken +app +west \(iad\/0\) is unhealthy/m),
    });
  }, 120_000);
});
