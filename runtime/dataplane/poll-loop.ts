/** The loop of the data plane's thread: waits in poll for devices, sockets and control, and lets the engine move what came. */
import { Errno } from "../native/errno";
import { type PacketIo, POLLIN, POLLOUT } from "../native/packet-io";
import { FROM_LINK, PACKET_ROOM } from "./buffers";
import type { Engine, Source } from "./engine";
import { TunLink } from "./link";
import { NativePort, type NativeSocket } from "./port";

/** Longest wait in poll, milliseconds: a process that ends must never wait longer for this thread. */
const MAX_WAIT = 250;
/** Messages on the watched descriptor that are taken at once. */
const MAX_MESSAGES = 64;

class Watched implements Source {
  constructor(
    private readonly io: PacketIo,
    private readonly engine: Engine,
    private readonly fd: number,
  ) {}

  receive(): void {
    // A burst of messages is one event; a socket that lost some reports an error first.
    for (let i = 0; i < MAX_MESSAGES && this.io.read(this.fd, FROM_LINK, PACKET_ROOM) !== -Errno.EAGAIN; i++);
    this.engine.watched();
  }
}

export class PollLoop {
  /** What each entry of the poll list is, but the first: that is the control descriptor. */
  private sources: Source[] = [];
  /** The first of them are sockets; whether each waits to take datagrams again. */
  private sockets: NativeSocket[] = [];
  private full: boolean[] = [];
  private generation = -1;

  /** @param control an eventfd that is signalled for control messages, and for packets of stacks while the engine sleeps. */
  constructor(
    private readonly io: PacketIo,
    private readonly engine: Engine,
    private readonly control: number,
  ) {}

  /** One round. @returns true where the control descriptor was signalled */
  round(): boolean {
    const { io, engine } = this;
    if (this.generation !== engine.generation) this.rebuild();
    const { sources, sockets, full } = this;
    for (let i = 0; i < sockets.length; i++)
      if (full[i] === sockets[i].backlog.empty) {
        full[i] = !full[i];
        io.setPoll(i + 1, sockets[i].fd, full[i] ? POLLIN | POLLOUT : POLLIN);
      }
    let wait = 0;
    if (engine.stacks.sleep()) wait = Math.min(MAX_WAIT, Math.max(0, Math.ceil(engine.nextTimer() - engine.tick())));
    io.poll(sources.length + 1, wait);
    engine.stacks.wake();
    engine.tick();
    for (let i = 0; i < sources.length; i++) if (io.polled(i + 1) !== 0) engine.serve(sources[i]);
    engine.finishRound();
    return io.polled(0) !== 0;
  }

  private rebuild(): void {
    const { io, engine } = this;
    this.sources = [];
    this.generation = engine.generation;
    io.setPoll(0, this.control, POLLIN);
    const add = (fd: number, source: Source): void => {
      this.sources.push(source);
      io.setPoll(this.sources.length, fd, POLLIN);
    };
    this.sockets = [...engine.ports.values()].flatMap((port) => (port instanceof NativePort ? port.sockets : []));
    this.full = this.sockets.map(() => false);
    for (const socket of this.sockets) add(socket.fd, socket);
    for (const attached of engine.links.values()) if (attached.link instanceof TunLink) add(attached.link.fd, attached);
    if (engine.watch !== undefined) add(engine.watch, new Watched(io, engine, engine.watch));
  }
}
