/** The loop of the data plane's thread: waits in poll for devices, sockets and control, and lets the engine move what came. */
import { type PacketIo, POLLIN } from "../native/packet-io";
import type { Engine, Source } from "./engine";
import { TunLink } from "./link";
import { NativePort } from "./port";

/** Longest wait in poll, milliseconds: a process that ends must never wait longer for this thread. */
const MAX_WAIT = 250;

export class PollLoop {
  /** What each entry of the poll list is, but the first: that is the control descriptor. */
  private sources: Source[] = [];
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
    const { sources } = this;
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
    for (const port of engine.ports.values())
      if (port instanceof NativePort) for (const socket of port.sockets) add(socket.fd, socket);
    for (const attached of engine.links.values()) if (attached.link instanceof TunLink) add(attached.link.fd, attached);
  }
}
