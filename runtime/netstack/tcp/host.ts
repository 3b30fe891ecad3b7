import type { Connection } from "./connection";
import type { Flow } from "./flow-table";
import type { TcpLimits } from "./limits";
import type { Memory } from "./memory";
import type { Secrets } from "./secrets";
import type { Timers } from "./timers";
import type { TcpEnvironment, TcpStats } from "./types";

/** What a connection needs of its layer. */
export interface Host {
  readonly environment: TcpEnvironment;
  readonly limits: Readonly<TcpLimits>;
  readonly memory: Memory;
  readonly timers: Timers;
  readonly secrets: Secrets;
  readonly counters: TcpStats;
  /** Milliseconds; read once for each call from outside. */
  now: number;
  /** The link takes nothing until `drained`. */
  full: boolean;

  /** `flush` shall deliver this connection's events and send what it has to send. */
  schedule(connection: Connection): void;
  /** The link was full: `drained` brings the connection back. */
  blocked(connection: Connection): void;
  /** The connection has received something: its spare memory is given back when it falls idle. */
  warm(connection: Connection): void;
  /** A handshake has ended, well or not. */
  handshakeOver(connection: Connection): void;
  /** The connection's addresses and ports are free. */
  detach(connection: Connection): void;
  /** The connection is over, but its addresses and ports are kept for TIME-WAIT. */
  enterTimeWait(connection: Connection): void;
  /** A RST on a path; best effort. */
  reset(flow: Flow, sequence: number, acknowledgment: number, flags: number): void;
}
