/** Bounds of memory and of waiting; every one can be set by whoever makes the layer. */
export interface TcpLimits {
  /** Connections in any state but TIME-WAIT. */
  connections: number;
  /** Handshakes under way per listener (SYN-RECEIVED); the oldest gives way to the newest. */
  backlog: number;
  /** Handshakes under way, and SYNs that wait for `accept`, of one remote address: far less than `backlog`, so that one cannot push out the others. */
  halfOpenPerSource: number;
  /** SYNs that wait for `accept` or `refuse`, of all remote addresses. */
  pendingSyns: number;
  /** Milliseconds that a SYN may wait for `accept`. */
  synTimeout: number;
  /** Closed connections remembered; the oldest gives way. */
  timeWait: number;
  /** Milliseconds of TIME-WAIT: twice the longest life of a segment. */
  timeWaitTime: number;
  /**
   * Bytes of buffered data of all connections; beyond, windows stop growing and segments out of order are dropped. Half as much again is
   * never passed by more than 2 KiB of each connection: those whose data is unread get no more.
   */
  memory: number;
  /** Bytes that the unread data of a connection may grow to. */
  receiveBuffer: number;
  /** The window that a connection starts with. */
  initialReceiveBuffer: number;
  /** Bytes that the unsent and unacknowledged data of a connection may grow to. */
  sendBuffer: number;
  /** Milliseconds of silence before the first keepalive probe, of connections that ask for no other time; 0: none. */
  keepAlive: number;
}

export const DEFAULT_LIMITS: Readonly<TcpLimits> = {
  connections: 65_536,
  backlog: 4096,
  halfOpenPerSource: 1024,
  pendingSyns: 4096,
  synTimeout: 60_000,
  timeWait: 8192,
  timeWaitTime: 60_000,
  memory: 256 * 1024 * 1024,
  receiveBuffer: 4 * 1024 * 1024,
  initialReceiveBuffer: 128 * 1024,
  sendBuffer: 4 * 1024 * 1024,
  keepAlive: 0,
};
