/** UAPI sockets in a folder of the test: who may reach them, and what happens to what others left there. */
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { failure, UapiErrno } from "./failure";
import { UapiSocket } from "./socket";

let dir: string;
let sockets: UapiSocket[];
const file = () => path.join(dir, "wireguard", "wg0.sock");

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "uapi"));
  sockets = [];
});
afterEach(() => {
  for (const socket of sockets) socket.close();
  fs.rmSync(dir, { recursive: true });
});

const failures: number[] = [];
const handler = {
  get: async () => "listen_port=1\n",
  set: async (operations: readonly unknown[]) =>
    operations.length > 1 ? failure(UapiErrno.portInUse, "too many") : undefined,
  failed: ({ errno }: { errno: number }) => void failures.push(errno),
};

async function open(): Promise<UapiSocket> {
  const socket = await UapiSocket.open(file(), handler);
  sockets.push(socket);
  return socket;
}

/** What is answered; the connection stays open on our side unless `end`. */
function ask(text: string, options: { end?: boolean; answers?: number } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = net.connect(file());
    let said = "";
    connection.on("data", (bytes) => {
      said += bytes;
      if (options.answers !== undefined && said.split("errno=").length > options.answers) connection.destroy();
    });
    connection.on("close", () => resolve(said)).on("error", reject);
    if (options.end) connection.end(text);
    else connection.write(text);
  });
}

test("the socket is its owner's alone, and so is a folder that had to be made", async () => {
  await open();
  expect(fs.statSync(file()).mode & 0o777).toBe(0o600);
  expect(fs.statSync(path.dirname(file())).mode & 0o777).toBe(0o700);
});

test("requests of one connection are answered in order", async () => {
  await open();
  const requests = "get=1\n\nset=1\nlisten_port=1\n\nset=1\nlisten_port=1\nfwmark=1\n\nget=1\n\n";
  expect(await ask(requests, { answers: 4 })).toBe(
    "listen_port=1\nerrno=0\n\nerrno=0\n\nerrno=-98\n\nlisten_port=1\nerrno=0\n\n",
  );
  expect(failures.splice(0)).toEqual([-98]);
});

test("a fault is answered and ends the connection; so does what is no request, unanswered", async () => {
  await open();
  expect(await ask("set=1\nnonsense\n")).toBe("errno=-71\n\n");
  expect(await ask("hello\n")).toBe("");
  expect(await ask("", { end: true })).toBe("");
  expect(await ask("set=1\nfwmark=1\n", { end: true })).toBe("errno=0\n\n");
  expect(failures.splice(0)).toEqual([-71]);
});

test("what a dead program left is replaced, a living one is not disturbed", async () => {
  const first = await open();
  await expect(UapiSocket.open(file(), handler)).rejects.toMatchObject({ code: "WARREN_NAME_TAKEN" });
  expect(await ask("get=1\n\n", { answers: 1 })).toContain("errno=0");
  expect(first.reachable).toBe(true);
  first.close();
  expect(fs.existsSync(file())).toBe(false);
  fs.writeFileSync(file(), "");
  const second = await open();
  expect(await ask("get=1\n\n", { answers: 1 })).toContain("errno=0");
  fs.rmSync(file());
  expect(second.reachable).toBe(false);
});

test("who goes away in the middle disturbs nobody", async () => {
  await open();
  for (let i = 0; i < 20; i++) {
    const connection = net.connect(file());
    connection.on("error", () => undefined);
    connection.write("get=1\n\nset=1\nprivate_k");
    if (i % 2) connection.destroy();
    else connection.once("connect", () => connection.destroy());
  }
  expect(await ask("get=1\n\n", { answers: 1 })).toBe("listen_port=1\nerrno=0\n\n");
});

test("a folder that cannot be made is said", async () => {
  fs.writeFileSync(path.join(dir, "wireguard"), "");
  await expect(UapiSocket.open(file(), handler)).rejects.toMatchObject({ code: "WARREN_PERMISSION" });
});
