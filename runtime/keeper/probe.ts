/**
 * Health probes from inside a sandbox without a process for each: a TCP socket stays in the namespace where it was made, and
 * connect(AF_UNSPEC) makes it new again. One probe at a time in a sandbox, since it has one socket per family.
 */
import * as net from "node:net";
import { inetAddress, libc, POLLERR, POLLHUP, POLLIN, POLLOUT, SHUT_WR } from "../native/libc";
import type { AppProber, ProbeResult } from "./app-sandbox";
import { escapedPath } from "./probe-path";
import type { Probe } from "./protocol";

/** Milliseconds between looks at the socket: short at first, an app on the same machine answers at once. */
const LONGEST_LOOK = 20;
/** Milliseconds that the other side gets to close, so that the connection is over on both sides. */
const PARTING = 50;
const MAX_HEAD = 16_384;

class Late extends Error {}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class Prober implements AppProber {
  private queue: Promise<unknown> = Promise.resolve();
  private closed = false;

  /** @param socketFor the descriptor for probes of an address. */
  constructor(private readonly socketFor: (address: string) => number) {}

  /** Never rejects. The timeout counts from the probe's turn. */
  probe(probe: Probe): Promise<ProbeResult> {
    const turn = this.queue.then(() => this.attempt(probe));
    this.queue = turn;
    return turn;
  }

  /** After this the descriptors may be closed. */
  async close(): Promise<void> {
    this.closed = true;
    await this.queue;
  }

  private async attempt(probe: Probe): Promise<ProbeResult> {
    if (this.closed) return { ok: false, detail: "the sandbox is gone" };
    const c = libc();
    const fd = this.socketFor(probe.address);
    const shown = `${net.isIPv6(probe.address) ? `[${probe.address}]` : probe.address}:${probe.port}`;
    const deadline = Date.now() + probe.timeout;
    try {
      if (!c.connect(fd, inetAddress(probe.address, probe.port))) {
        await this.wait(fd, POLLOUT, deadline);
        const refused = c.socketError(fd, shown);
        // Accepted and dropped at once: for a TCP probe it depends on the moment of looking, so it counts as what it was, a connection.
        const accepted = probe.type === "tcp" && ["ECONNRESET", "EPIPE"].includes(refused?.code ?? "");
        if (refused && !accepted) throw refused;
      }
      const result =
        probe.type === "tcp"
          ? { ok: true, detail: `connected to ${shown}` }
          : await this.http(fd, probe, shown, deadline);
      await this.part(fd, PARTING);
      return result;
    } catch (error) {
      if (error instanceof Late) await this.part(fd, 0);
      const { code, message } = error as NodeJS.ErrnoException;
      if (error instanceof Late)
        return {
          ok: false,
          detail: this.closed ? "the sandbox is gone" : `no answer from ${shown} within ${probe.timeout} ms`,
        };
      return { ok: false, detail: code === "ECONNREFUSED" ? `nothing listens on ${shown}` : `${shown}: ${message}` };
    } finally {
      try {
        c.disconnect(fd);
      } catch {
        // Reports the connection's own error at times; the socket is new all the same, else the next connect says why.
      }
    }
  }

  private async http(fd: number, probe: Probe, shown: string, deadline: number): Promise<ProbeResult> {
    const c = libc();
    const path = escapedPath(probe.path);
    let request = Buffer.from(
      `GET ${path} HTTP/1.1\r\nHost: ${shown}\r\nUser-Agent: warren-health\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
    );
    while (request.length > 0) {
      await this.wait(fd, POLLOUT, deadline);
      request = request.subarray(c.send(fd, request));
    }
    let head = "";
    while (!head.includes("\n") && head.length < MAX_HEAD) {
      await this.wait(fd, POLLIN, deadline);
      const data = c.receive(fd, 4096);
      if (data === undefined) continue;
      if (data.length === 0) break;
      head += data.toString("latin1");
    }
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
    if (status === undefined) return { ok: false, detail: `${shown} answered no HTTP` };
    return { ok: /^[23]/.test(status), detail: `HTTP ${status} from ${shown}${path}` };
  }

  /** Says that no more comes, as a closed client does: a reset would end servers that do not handle errors of their connections. */
  private async part(fd: number, time: number): Promise<void> {
    const c = libc();
    try {
      c.shutdown(fd, SHUT_WR);
      const end = Date.now() + time;
      for (let bytes = 0; bytes < 1 << 20; ) {
        await this.wait(fd, POLLIN, end);
        const data = c.receive(fd, 65_536);
        if (data?.length === 0) return;
        bytes += data?.length ?? 0;
      }
    } catch {
      // It answered; how it goes does not matter.
    }
  }

  /** Until one of `events`, an error or the end of the connection shows. */
  private async wait(fd: number, events: number, deadline: number): Promise<void> {
    for (let look = 1; ; look = Math.min(look * 2, LONGEST_LOOK)) {
      if (this.closed) throw new Late();
      if ((libc().poll(fd, events, 0) & (events | POLLERR | POLLHUP)) !== 0) return;
      const left = deadline - Date.now();
      if (left <= 0) throw new Late();
      await pause(Math.min(look, left));
    }
  }
}
