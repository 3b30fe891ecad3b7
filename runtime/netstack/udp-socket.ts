/** UDP as `node:dgram` has it. */
import { EventEmitter } from "node:events";
import { NetworkError } from "./network-error";
import type { Endpoint } from "./options";
import type { Stack } from "./stack";
import type { UdpEndpoint } from "./udp";

/** Emits `message` (Buffer, Endpoint), `error` (a NetworkError: what ICMP said about an earlier datagram), `close`. */
export class UdpSocket extends EventEmitter {
  private readonly endpoint: UdpEndpoint;
  private closed = false;

  /**
   * @param local address default, `0.0.0.0` and `::`: all; port default and 0: any
   * @throws NetworkError EADDRINUSE, EADDRNOTAVAIL, ENOBUFS; WarrenError WARREN_INVALID_INPUT
   */
  constructor(stack: Stack, local: Partial<Endpoint> = {}) {
    super();
    const all = local.address === "0.0.0.0" || local.address === "::";
    this.endpoint = stack.bindUdp(all ? { port: local.port } : local, {
      onDatagram: (from, _to, data) => this.emit("message", Buffer.from(data), from),
      onError: (code, to) => {
        // As with dgram, an error without anybody who asked for errors is none: datagrams may get lost.
        if (this.listenerCount("error") > 0) this.emit("error", new NetworkError(code, "send", to));
      },
    });
  }

  address(): Endpoint {
    return this.endpoint.local;
  }

  remoteAddress(): Endpoint | undefined {
    return this.endpoint.remote;
  }

  /** From here on only this peer's datagrams come in, and `send` needs no address. @throws WarrenError WARREN_INVALID_INPUT */
  connect(remote: Endpoint): this {
    this.endpoint.connect(remote);
    return this;
  }

  /**
   * @returns false where it was dropped for want of room
   * @throws NetworkError EMSGSIZE, EHOSTUNREACH, EADDRNOTAVAIL; WarrenError WARREN_INVALID_INPUT
   */
  send(data: Uint8Array | string, to?: Endpoint): boolean {
    return this.endpoint.send(typeof data === "string" ? Buffer.from(data) : data, to);
  }

  close(): this {
    if (this.closed) return this;
    this.closed = true;
    this.endpoint.close();
    process.nextTick(() => this.emit("close"));
    return this;
  }
}
