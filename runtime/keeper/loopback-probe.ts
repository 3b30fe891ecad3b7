/** Health probes of an app that listens on this machine's loopback. */
import * as http from "node:http";
import * as net from "node:net";
import type { AppProber, ProbeResult } from "./app-sandbox";
import { escapedPath } from "./probe-path";
import type { Probe } from "./protocol";

/** The address given, and on the refusal of the first that of the other family: `localhost` means either to a program. */
function candidates(address: string): string[] {
  if (address === "127.0.0.1") return [address, "::1"];
  return address === "::1" ? [address, "127.0.0.1"] : [address];
}

export class LoopbackProber implements AppProber {
  private readonly open = new Set<net.Socket>();
  private closed = false;

  async probe(probe: Probe): Promise<ProbeResult> {
    const deadline = Date.now() + probe.timeout;
    let first: ProbeResult | undefined;
    for (const address of candidates(probe.address)) {
      if (this.closed) return { ok: false, detail: "the sandbox is gone" };
      const { refused, ...result } = await this.attempt(probe, address, Math.max(1, deadline - Date.now()));
      if (!refused) return result;
      first ??= result;
    }
    return first!;
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const socket of this.open) socket.destroy();
  }

  private attempt(probe: Probe, address: string, timeout: number): Promise<ProbeResult & { refused?: boolean }> {
    const shown = `${net.isIPv6(address) ? `[${address}]` : address}:${probe.port}`;
    return new Promise((resolve) => {
      const socket = net.connect({ host: address, port: probe.port });
      this.open.add(socket);
      const timer = setTimeout(
        () => done({ ok: false, detail: `no answer from ${shown} within ${probe.timeout} ms` }),
        timeout,
      );
      const done = (result: ProbeResult & { refused?: boolean }) => {
        clearTimeout(timer);
        this.open.delete(socket);
        // Says that no more comes, as a closed client does: a reset would end servers that do not handle errors of their connections.
        socket.end();
        socket.resume();
        setTimeout(() => socket.destroy(), 50).unref();
        resolve(result);
      };
      socket.on("error", (error: NodeJS.ErrnoException) => {
        // Accepted and dropped at once: it depends on the moment of looking, so it counts as what it was, a connection.
        if (probe.type === "tcp" && ["ECONNRESET", "EPIPE"].includes(error.code ?? ""))
          return done({ ok: true, detail: `connected to ${shown}` });
        const refused = error.code === "ECONNREFUSED" || error.code === "EADDRNOTAVAIL";
        done({ ok: false, detail: refused ? `nothing listens on ${shown}` : `${shown}: ${error.message}`, refused });
      });
      socket.on("close", () => done({ ok: false, detail: this.closed ? "the sandbox is gone" : `${shown} hung up` }));
      socket.on("connect", () => {
        if (probe.type === "tcp") return done({ ok: true, detail: `connected to ${shown}` });
        const path = escapedPath(probe.path);
        const request = http.request({
          createConnection: () => socket,
          path,
          headers: { Host: shown, "User-Agent": "warren-health", Accept: "*/*", Connection: "close" },
        });
        request.on("response", ({ statusCode }) =>
          done({ ok: /^[23]/.test(String(statusCode)), detail: `HTTP ${statusCode} from ${shown}${path}` }),
        );
        request.on("error", (error: NodeJS.ErrnoException) =>
          done({
            ok: false,
            detail: error.code?.startsWith("HPE_") ? `${shown} answered no HTTP` : `${shown}: ${error.message}`,
          }),
        );
        request.end();
      });
    });
  }
}
