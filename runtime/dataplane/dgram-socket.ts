/** UDP sockets of the event loop (node:dgram) for the portable data plane: sending is bounded, and never reads memory that changes. */
import * as dgram from "node:dgram";
import { Errno } from "../native/errno";
import { Backlog, type SendCounts } from "./backlog";
import { PACKET_ROOM } from "./buffers";
import type { SocketEndpoint } from "./endpoint-table";
import type { UdpSocket } from "./port";

/** Bytes asked for on each side of a socket; what the system does not grant it cuts. */
const SOCKET_BUFFER_BYTES = [7 << 20, 1 << 20, 1 << 18];

export type OnDatagram = (socket: DgramSocket, message: Uint8Array, host: string, port: number) => void;

/** Numeric addresses only: nothing to look up, and so a datagram leaves within the call. */
const lookup = (
  host: string,
  _options: unknown,
  done: (error: null, address: string, family: number) => void,
): void => {
  done(null, host, host.includes(":") ? 6 : 4);
};

export class DgramSocket implements UdpSocket {
  open = true;
  readonly backlog = new Backlog();
  /** Called when it takes datagrams again. */
  onWritable: () => void = () => {};
  /** Where datagrams are counted that the system refused. */
  counts: SendCounts = { queue: 0, error: 0, refused: 0 };
  /** A copy: what the system does not take at once it reads later, when the data plane's memory has changed. */
  private readonly slot = new Uint8Array(PACKET_ROOM);
  private blocked = false;

  private constructor(
    private readonly memory: Uint8Array,
    readonly family: 4 | 6,
    private readonly socket: dgram.Socket,
  ) {}

  /**
   * A bound socket that does not keep the process alive.
   * @param memory in which packets lie
   * @throws an error with `code` where the address or port cannot be had
   */
  static bind(memory: Uint8Array, host: string, port: number, onDatagram: OnDatagram): Promise<DgramSocket> {
    const family = host.includes(":") ? 6 : 4;
    const socket = dgram.createSocket({
      type: family === 6 ? "udp6" : "udp4",
      ipv6Only: family === 6,
      lookup: lookup as never,
    });
    return new Promise((resolve, reject) => {
      socket.once("error", (error) => {
        socket.close();
        reject(error);
      });
      socket.bind({ address: host, port, exclusive: true }, () => {
        socket.removeAllListeners("error");
        socket.unref();
        const made = new DgramSocket(memory, family, socket);
        for (const size of SOCKET_BUFFER_BYTES)
          try {
            socket.setRecvBufferSize(size);
            socket.setSendBufferSize(size);
            break;
          } catch {
            // Some systems refuse what others cut; the smaller one, or the default.
          }
        socket.on("message", (message, from) => onDatagram(made, message, from.address, from.port));
        // Errors of single datagrams, as some systems report them, cost that datagram.
        socket.on("error", () => {
          made.counts.error++;
        });
        resolve(made);
      });
    });
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(off: number, len: number, endpoint: SocketEndpoint, segment: number): number {
    const { host, port } = endpoint;
    for (let at = off; at < off + len; at += segment) {
      if (this.blocked) return at === off ? -Errno.EAGAIN : at - off;
      const size = Math.min(segment, off + len - at);
      this.slot.set(this.memory.subarray(at, at + size));
      try {
        this.socket.send(this.slot, 0, size, port, host, this.onSent);
        this.blocked = this.socket.getSendQueueCount() > 0;
      } catch {
        this.counts.error++;
      }
    }
    return len;
  }

  private readonly onSent = (error: Error | null): void => {
    if (error !== null) this.counts.error++;
    if (!this.blocked || !this.open || this.socket.getSendQueueCount() > 0) return;
    this.blocked = false;
    this.onWritable();
  };

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.backlog.clear();
    this.socket.close();
  }
}
