/** The HTTP server on the Unix socket: from bytes to handlers and back. */
import * as fs from "node:fs";
import * as http from "node:http";
import type { Socket } from "node:net";
import { WarrenError } from "../../errors";
import { sendError, sendJson } from "./answers";
import { match, type Route } from "./router";

export class ControlServer {
  private readonly server: http.Server;
  private readonly sockets = new Set<Socket>();
  private readonly calls = new Set<AbortController>();
  private quietSince = Date.now();

  constructor(
    private readonly socketPath: string,
    private readonly routes: readonly Route[],
    private readonly report: (error: unknown) => void,
    upgrade?: (request: http.IncomingMessage, socket: Socket, head: Buffer) => Promise<void>,
  ) {
    this.server = http.createServer((request, response) => void this.serve(request, response));
    // A source may take long to arrive, a long poll long to be answered: callers bring deadlines of their own.
    this.server.requestTimeout = 0;
    if (upgrade)
      this.server.on("upgrade", (request, socket: Socket, head) => {
        upgrade(request, socket, head).catch((error) => {
          this.report(error);
          socket.destroy();
        });
      });
    this.server.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
  }

  /**
   * The caller holds the state folder's lock, so a socket that is there belongs to a daemon that is gone.
   * The socket is made with mode 0600 at once: at no moment could another user connect.
   */
  async listen(): Promise<void> {
    fs.rmSync(this.socketPath, { force: true });
    const umask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.server.once("error", reject);
        this.server.listen(this.socketPath, () => {
          this.server.off("error", reject);
          resolve();
        });
        // bind(2) has happened when listen returns; nothing else may be created under this mask.
        process.umask(umask);
      });
    } finally {
      process.umask(umask);
    }
    fs.chmodSync(this.socketPath, 0o600);
    this.quietSince = Date.now();
    this.server.removeAllListeners("error").on("error", this.report);
  }

  /** Milliseconds since the last answer; 0 while one is under way. */
  get quietFor(): number {
    return this.calls.size > 0 ? 0 : Date.now() - this.quietSince;
  }

  /** Long polls end at once; answers under way get a moment. */
  async close(): Promise<void> {
    for (const call of this.calls) call.abort();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    const cut = setTimeout(() => {
      for (const socket of this.sockets) socket.destroy();
    }, 1000);
    await closed;
    clearTimeout(cut);
  }

  private async serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const gone = new AbortController();
    this.calls.add(gone);
    response.on("close", () => gone.abort());
    try {
      // Put together as text: against a base "//" would be a host without a name.
      const url = new URL(`http://control${request.url?.startsWith("/") ? request.url : "/"}`);
      const found = match(this.routes, request.method ?? "", url.pathname);
      if (found.kind === "none")
        throw new WarrenError(
          "WARREN_NOT_FOUND",
          `Control has no ${url.pathname}: client and daemon may differ in version.`,
        );
      if (found.kind === "method") {
        response.setHeader("allow", found.allowed.join(", "));
        const error = { code: "WARREN_INVALID_INPUT", message: `${request.method} is not for ${url.pathname}.` };
        sendJson(response, 405, { error });
        return;
      }
      const { signal } = gone;
      const { params, handler } = found;
      const answer = await handler({ params, query: url.searchParams, request, response, signal });
      if (answer !== undefined) sendJson(response, 200, answer);
    } catch (error) {
      if (!WarrenError.is(error) && !gone.signal.aborted) this.report(error);
      sendError(response, error);
    } finally {
      this.calls.delete(gone);
      this.quietSince = Date.now();
      // What of a body was not read is not waited for.
      if (!request.complete) request.resume();
    }
  }
}
