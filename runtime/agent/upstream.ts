/**
 * `upstream`: something that already runs on this machine (or that it reaches) answers at an app's private address.
 * A short-lived child enters the app's namespaces, listens there and hands the listening socket to this process, which lives
 * outside: a socket stays in the namespace that it was made in. TCP only.
 */
import { spawn } from "node:child_process";
import * as net from "node:net";

/** Milliseconds for the child to listen and hand over. */
const LISTEN_TIMEOUT = 10_000;

/** Milliseconds that the other side of a probe gets to close. */
const PARTING = 50;

const LISTENER = `
const net = require("node:net");
const [port, ...addresses] = process.argv.slice(1);
for (const address of addresses) {
  const server = net.createServer({ pauseOnConnect: true });
  server.on("error", (error) => { process.send({ error: error.message }); process.exit(1); });
  server.listen(Number(port), address, () => process.send({ address }, server, { keepOpen: true }));
}`;

export interface UpstreamSpec {
  /** argv that enters the app's namespaces. */
  readonly enter: readonly string[];
  readonly addresses: readonly string[];
  readonly port: number;
  /** `host:port`. */
  readonly upstream: string;
}

export class UpstreamForwarder {
  private readonly sockets = new Set<net.Socket>();

  private constructor(
    readonly key: string,
    private readonly servers: net.Server[],
  ) {}

  static key(spec: UpstreamSpec): string {
    return JSON.stringify([spec.enter, spec.addresses, spec.port, spec.upstream]);
  }

  static async start(spec: UpstreamSpec): Promise<UpstreamForwarder> {
    const servers = await listenInside(spec);
    const forwarder = new UpstreamForwarder(UpstreamForwarder.key(spec), servers);
    const target = splitHostPort(spec.upstream);
    for (const server of servers) server.on("connection", (socket: net.Socket) => forwarder.forward(socket, target));
    return forwarder;
  }

  close(): void {
    for (const server of this.servers) server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private forward(inside: net.Socket, target: { host: string; port: number }): void {
    const outside = net.connect({ ...target, allowHalfOpen: true });
    inside.allowHalfOpen = true;
    for (const [from, to] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      this.sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroySoon();
      });
    }
    inside.pipe(outside);
    outside.pipe(inside);
  }
}

/** Does the upstream itself accept a connection? */
export function probeUpstream(upstream: string, timeout: number): Promise<{ ok: boolean; detail: string }> {
  return new Promise((resolve) => {
    const socket = net.connect(splitHostPort(upstream));
    const done = (ok: boolean, detail: string) => {
      // Says that no more comes, as a closed client does: a reset would end servers that do not handle errors of their connections.
      socket.end();
      socket.resume();
      setTimeout(() => socket.destroy(), PARTING).unref();
      resolve({ ok, detail });
    };
    socket.setTimeout(timeout, () => done(false, `${upstream} did not answer within ${timeout / 1000} s`));
    socket.on("connect", () => done(true, `${upstream} accepts connections`));
    socket.on("error", (error) => done(false, `${upstream}: ${error.message}`));
  });
}

export function splitHostPort(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(":");
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
}

function listenInside(spec: UpstreamSpec): Promise<net.Server[]> {
  const [file, ...args] = [...spec.enter, process.execPath, "-e", LISTENER, String(spec.port), ...spec.addresses];
  const child = spawn(file as string, args, {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    cwd: "/",
    env: { PATH: process.env.PATH },
  });
  return new Promise((resolve, reject) => {
    const servers: net.Server[] = [];
    let complaint = "";
    const fail = (why: string) => {
      clearTimeout(timer);
      for (const server of servers) server.close();
      child.kill("SIGKILL");
      reject(new Error(`cannot listen on port ${spec.port} inside the app's namespace: ${why}`));
    };
    const timer = setTimeout(() => fail("timed out"), LISTEN_TIMEOUT);
    child.stderr?.on("data", (chunk) => {
      complaint = (complaint + chunk).slice(-500);
    });
    child.on("error", (error) => fail(error.message));
    child.on("exit", (code) => {
      if (servers.length < spec.addresses.length)
        return fail(complaint.trim() || `the listener ended with code ${code}`);
      clearTimeout(timer);
      resolve(servers);
    });
    child.on("message", (message: { error?: string }, server) => {
      if (message.error) return fail(message.error);
      servers.push(server as net.Server);
      // While it lives it accepts connections too, and nobody would serve those.
      if (servers.length === spec.addresses.length) child.kill("SIGKILL");
    });
  });
}
