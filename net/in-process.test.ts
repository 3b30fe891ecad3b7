/** What Node programs import: from the package's root as from `pulumi-warren/net`; and HTTPS by a dispatcher. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import * as net from "node:net";
import { promisify } from "node:util";
import { ROOT } from "../test/support/repo";
import { useScratch } from "../test/support/scratch";
import { dial, dispatcher, listen } from ".";
import { dispatcherOf } from "./dispatcher";
import { CERTIFICATE, KEY } from "./testing/certificate";

const run = promisify(execFile);
const FUNCTIONS = ["dial", "dispatcher", "join", "listen"];

/** Runs a program that may import the package by its name. */
async function node(program: string, env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await run(process.execPath, ["-e", program], { cwd: ROOT, env: { ...process.env, ...env } });
  return stdout.trim();
}

test.each(["pulumi-warren", "pulumi-warren/net"])(
  "%s has dial, listen, join and dispatcher, with the same errors",
  async (name) => {
    const said = await node(`
    const warren = require("${name}");
    const functions = ${JSON.stringify(FUNCTIONS)}.filter((f) => typeof warren[f] === "function");
    warren.dial({ __pulumiResource: true }, "api:80").catch((error) =>
      console.log(JSON.stringify([functions, error instanceof warren.WarrenError, error.code])));`);
    expect(JSON.parse(said)).toEqual([FUNCTIONS, true, "WARREN_INVALID_INPUT"]);
  },
);

test.each([
  [{ __pulumiResource: true }, /^network is a resource, whose values are not known .*: give the network's name/],
  [undefined, /^network is neither a membership, which join gives, nor the name/],
  [{}, /^network is neither a membership/],
])("a network that is none is refused with what to give instead: %j", async (network, message) => {
  const refusal = { code: "WARREN_INVALID_INPUT", path: "network", message: expect.stringMatching(message) };
  await expect(dial(network as never, "api:80")).rejects.toMatchObject(refusal);
  await expect(listen(network as never, 80)).rejects.toMatchObject(refusal);
  expect(() => dispatcher(network as never)).toThrow(expect.objectContaining(refusal));
});

test("nobody listens by a network's name alone", async () => {
  await expect(listen("net" as never, 80)).rejects.toMatchObject({
    code: "WARREN_INVALID_INPUT",
    message: expect.stringMatching(/^network is the name "net": only a membership has addresses/),
  });
});

describe("HTTPS by a dispatcher", () => {
  const scratch = useScratch();
  let server: https.Server;
  let asked: string[];
  beforeEach(async () => {
    asked = [];
    server = https.createServer({ key: KEY, cert: CERTIFICATE }, (request, response) =>
      response.end(`Hello ${request.url}`),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  test("is spoken end to end: whose certificate nobody trusts is refused", async () => {
    const { port } = server.address() as AddressInfo;
    const agent = dispatcherOf(async (target) => {
      asked.push(target);
      return net.connect(port, "127.0.0.1");
    });
    const answer = fetch("https://api.internal/", { dispatcher: agent } as object);
    await expect(answer).rejects.toMatchObject({ cause: { code: "DEPTH_ZERO_SELF_SIGNED_CERT" } });
    await expect(fetch("https://[fd00::5]:8443/", { dispatcher: agent } as object)).rejects.toThrow();
    expect(asked).toEqual(["api.internal:443", "[fd00::5]:8443"]);
    await agent.destroy();
  });

  test("is answered where the host trusts it, for its own name only", async () => {
    const file = scratch.file("ca.pem");
    fs.writeFileSync(file, CERTIFICATE);
    const { port } = server.address() as AddressInfo;
    const said = await node(
      `const net = require("node:net");
      const agent = require("./dist/net/dispatcher.js").dispatcherOf(async () => net.connect(${port}, "127.0.0.1"));
      const ask = (host) => fetch("https://" + host + "/x", { dispatcher: agent }).then((r) => r.text(), (e) => e.cause.code);
      (async () => {
        console.log(await ask("api.internal"));
        console.log(await ask("other.internal"));
        await agent.close();
      })();`,
      { NODE_EXTRA_CA_CERTS: file },
    );
    expect(said.split("\n")).toEqual(["Hello /x", "ERR_TLS_CERT_ALTNAME_INVALID"]);
  });
});
