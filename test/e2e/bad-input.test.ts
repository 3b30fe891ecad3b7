import { socketClient } from "../../provider/client";
import { app } from "../../provider/core/app";
import type { HookContext, Props } from "../../provider/core/crud";
import { network } from "../../provider/core/network";
import { peer } from "../../provider/core/peer";
import { machineContext } from "../../provider/dynamic";
import { newKeyPair } from "../support/keys";
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { waitFor } from "../support/wait";
import { Machine } from "./machine";

const NONE = { type: "none", interval: 1, timeout: 1, threshold: 1 } as const;

describeNeeding(["linux", "root", "tun"], "bad input", () => {
  const scratch = useScratch();
  const machine = new Machine(scratch);
  let ctx: HookContext;
  let space: Props;
  let networkId: string;
  beforeAll(async () => {
    await machine.start();
    const net = await machine.putNetwork("net", { reserved: ["10.1.2.16/28"] });
    space = net.spec;
    networkId = net.id;
    await machine.putApp("net", "holder", { command: ["sleep", "1000"], health: NONE });
    await waitFor("the agent", async () => {
      const { applied, revision, hosts } = await machine.client.status();
      return applied === revision && hosts.every(({ port }) => port !== 0);
    });
    const connect = async () => socketClient(machine.home.controlSocket);
    ctx = { ...machineContext({}), peek: connect, ensure: connect, programDir: "/" };
  }, 30_000);

  const member = (name: string, more: Props = {}): Props => ({
    name,
    network: "net",
    networkId,
    space,
    before: [],
    owner: machine.ownerOf(name),
    ...more,
  });
  const sleeping = (name: string, more: Props = {}) =>
    member(name, { command: ["sleep", "1000"], health: NONE, ...more });
  const declared = async () => {
    const { networks, members, revision } = await machine.client.status();
    return [networks.length, members.map(({ name }) => name), revision];
  };
  /** What check says, and that neither it nor the refused put left anything in the registry. */
  const nothingHalfMade = async (work: () => Promise<unknown>) => {
    const before = await declared();
    const answer = await work();
    expect(await declared()).toEqual(before);
    return answer;
  };
  const failures = (crud: typeof app, news: Props) =>
    nothingHalfMade(async () => (await crud.check(ctx, {}, news)).failures);

  it.each([
    ["10.1.2.0/33", /10\.1\.2\.0\/33.*\/32/],
    ["ten.one", /ten\.one/],
    ["10.1.2.0/31", /too small|smallest|\/2/i],
    ["10.1.2.5/24", /10\.1\.2\.0\/24/],
  ])("a range such as %s is refused with what would do", async (cidr, sentence) => {
    const wrong = { name: "bad", cidr, owner: machine.ownerOf("bad") };
    expect(await failures(network, wrong)).toEqual([{ property: "cidr", reason: expect.stringMatching(sentence) }]);
    const put = () => machine.putNetwork("bad", { cidr }).catch((error) => error);
    expect(await nothingHalfMade(put)).toMatchObject({
      code: "WARREN_INVALID_RANGE",
      message: expect.stringMatching(sentence),
    });
  });

  it.each([
    ["10.9.9.9", "WARREN_ADDRESS_OUTSIDE", /10\.9\.9\.9.*10\.1\.2\.0\/24/],
    ["10.1.2.3", "WARREN_ADDRESS_TAKEN", /10\.1\.2\.3.*holder/],
    ["10.1.2.1", "WARREN_ADDRESS_RESERVED", /10\.1\.2\.1/],
    ["10.1.2.255", "WARREN_ADDRESS_RESERVED", /10\.1\.2\.255/],
    ["10.1.2.17", "WARREN_ADDRESS_RESERVED", /10\.1\.2\.17 is a reserved address.*choose another/],
  ])("the address %s is refused: %s", async (ip, code, sentence) => {
    expect(await failures(app, sleeping("pinned", { ip }))).toEqual([
      { property: "ip", reason: expect.stringMatching(sentence) },
    ]);
    const put = () => machine.putApp("net", "pinned", {}, { ip }).catch((error) => error);
    expect(await nothingHalfMade(put)).toMatchObject({ code, path: "ip", message: expect.stringMatching(sentence) });
  });

  it.each(["Upper", "under_score", "-first", "last-", "a.b", "x".repeat(64)])(
    'a name such as "%s" is refused: it is no DNS label',
    async (name) => {
      const [failure] = (await failures(app, sleeping(name))) as { property: string; reason: string }[];
      expect(failure).toMatchObject({ property: "name", reason: expect.stringMatching(/lower-case|label/i) });
      const [networkFailure] = (await failures(network, { name, owner: machine.ownerOf("x") })) as {
        property: string;
      }[];
      expect(networkFailure).toMatchObject({ property: "name" });
    },
  );

  it("two members of one name are refused, in one program and of two stacks", async () => {
    const before = [{ name: "twin", kind: "app", region: "ord" }];
    expect(await failures(app, sleeping("twin", { before }))).toEqual([
      {
        property: "name",
        reason: 'Another member of this network in this program has the name "twin": give each its own.',
      },
    ]);
    const other = { stack: "production" };
    const put = () => machine.putApp("net", "holder", {}, other).catch((error) => error);
    expect(await nothingHalfMade(put)).toMatchObject({
      code: "WARREN_NAME_TAKEN",
      message: expect.stringMatching(/holder.*organization\/e2e\/dev/),
    });
    const owner = { ...machine.ownerOf("holder"), stack: "production" };
    const hooks = [
      [app, sleeping("holder", { owner })],
      [peer, member("holder", { owner, publicKey: newKeyPair().publicKey })],
    ] as const;
    for (const [crud, news] of hooks) {
      const create = async () => {
        const { inputs, failures: found } = await crud.check(ctx, {}, news);
        expect(found).toEqual([
          {
            property: "name",
            reason: expect.stringMatching(/already has a member holder, of stack organization\/e2e\/dev/),
          },
        ]);
        return crud.create(ctx, inputs).catch((error) => error);
      };
      expect(await nothingHalfMade(create)).toMatchObject({ code: "WARREN_NAME_TAKEN" });
    }
  });

  it.each([
    [
      "does not exist",
      ["no-such-program"],
      /^instance local\/0 of broken is failed: command "no-such-program" does not exist in any folder of PATH \(.*\)$/,
    ],
    [
      "ends at once",
      ["sh", "-c", "echo I cannot >&2; exit 4"],
      /^instance local\/0 of broken is backoff: exit code 4; its last output: I cannot$/,
    ],
  ])(
    "a command that %s fails the create within seconds with its output, and the next up repairs it",
    async (_, command, sentence) => {
      const { inputs } = await app.check(ctx, {}, sleeping("broken", { command }));
      const start = Date.now();
      const failure = await app.create(ctx, inputs).catch((error) => error);
      expect(failure).toMatchObject({ name: "InitFailure", reasons: [expect.stringMatching(sentence)] });
      expect(Date.now() - start).toBeLessThan(15_000);
      // What the engine keeps of it is what the next up changes.
      const checked = await app.check(ctx, inputs, sleeping("broken"));
      const { outs } = await app.update(ctx, failure.id, failure.outs, checked.inputs);
      expect(outs.privateIp).toBe(failure.outs.privateIp);
      const { state } = await waitFor("a state", () => machine.instance("broken"));
      expect(state).toBe("healthy");
      await machine.client.deleteMember(failure.id);
    },
  );

  it("an account that does not exist fails at once, naming it", async () => {
    const { id } = await machine.putApp("net", "nobodys", { command: ["true"], health: NONE, user: "no-such-user" });
    expect((await machine.client.ready(id, 20)).failed).toBe(
      "instance ord/0 of nobodys is failed: The user no-such-user does not exist on this machine.",
    );
    await machine.client.deleteMember(id);
  });

  it("a program that speaks no version of the interface gets an answer, and the daemon lives on", async () => {
    const pid = await machine.daemonPid();
    const socket = machine.home.controlSocket;
    const call = (...argv: string[]) => machine.run(["curl", "-sS", "--unix-socket", socket, ...argv]);
    const answer = async (...argv: string[]) => JSON.parse((await call(...argv)).stdout).error.code;
    expect(await answer("http://c/v9/health")).toBe("WARREN_NOT_FOUND");
    expect(await answer("-X", "PUT", "-d", "{", "http://c/v1/networks/x")).toBe("WARREN_INVALID_INPUT");
    expect(await answer("-X", "PUT", "-d", '{"spec":{}}', "http://c/v1/networks/x")).toBe("WARREN_INVALID_INPUT");
    expect(await machine.daemonPid()).toBe(pid);
  });
});
