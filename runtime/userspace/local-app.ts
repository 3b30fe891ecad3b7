/** The app behind an address, as sockets of this machine: where its ports are, and what else it listens on. */

import { hostProcesses } from "../keeper/processes";
import { beyondLoopback, type Listener, lentPorts, listenersOf } from "./listeners";
import { connectLocal, type LocalEnd, localEnds, ownEnds, type TargetSpec } from "./loopback-target";

/** Milliseconds for which what was seen is taken for true: a scan of an app's ports must not cost a look at all processes each. */
const KEPT = 1000;

export interface AppProcess {
  /** Of the sandbox. */
  readonly mark: string;
  /** The first process, where one runs. */
  readonly pid?: number;
}

export class LocalApp {
  private seen: readonly Listener[] = [];
  private seenAt = Number.NEGATIVE_INFINITY;

  /** @param process asked for at each look; undefined: none of ours runs. */
  constructor(
    public spec: TargetSpec,
    private readonly process: () => AppProcess | undefined,
    private readonly look: (app: AppProcess) => readonly Listener[] = ({ mark, pid }) =>
      listenersOf(hostProcesses(mark, pid)),
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** What its processes listen on, at most a second old; older where the system lets nobody look, as when no descriptor is left. */
  listeners(): readonly Listener[] {
    if (this.now() - this.seenAt < KEPT) return this.seen;
    const process = this.process();
    this.seenAt = this.now();
    try {
      this.seen = process === undefined ? [] : this.look(process);
    } catch {
      // What was seen stands.
    }
    return this.seen;
  }

  /** The next look is a new one: its process is another. */
  forget(): void {
    this.seenAt = Number.NEGATIVE_INFINITY;
  }

  /** Listeners beyond loopback, as texts. */
  exposed(): string[] {
    const { port, loopbackPort } = this.spec;
    return beyondLoopback(this.listeners(), { ...lentPorts(), serves: [port, loopbackPort] });
  }

  /** Where connections to a port of the app go. */
  tcpEnds(port: number): LocalEnd[] {
    return this.ends("tcp", port);
  }

  /** Where datagrams to a port of the app go. */
  datagramEnds(port: number): LocalEnd[] {
    return this.ends("udp", port);
  }

  /** @throws the system's error (`code` ECONNREFUSED where nothing of the app listens). */
  connect(port: number, signal?: AbortSignal) {
    return connectLocal(this.tcpEnds(port), signal);
  }

  /** Also where its own process has the declared port itself, whatever it was told. */
  private ends(protocol: "tcp" | "udp", port: number): LocalEnd[] {
    const ends = localEnds(this.spec, protocol, port, () => this.listeners());
    if (this.spec.upstream || port !== this.spec.port) return ends;
    const listeners = this.listeners();
    const told = ownEnds(protocol, this.spec.loopbackPort, listeners);
    if (told.length > 0) return told;
    // Where it runs, another process may listen for it (a container's, say). Where it does not, whoever has its port now is somebody else.
    const others = this.process()?.pid === undefined ? [] : ends;
    return [...others, ...ownEnds(protocol, port, listeners)];
  }
}
