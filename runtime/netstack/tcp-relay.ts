/** From a connection of the stack to a socket of the machine, in memory that is used again and again. */
import type { Socket } from "node:net";
import type { TcpConnection } from "./tcp";

/** Bytes that may wait in the socket when it is given one more block. */
const WAITING = 256 * 1024;

export class TcpRelay {
  /** What the socket was given and has not passed on to the kernel yet, in order. */
  private readonly lent: Buffer[] = [];

  /** @param onWritten called when the socket may take more */
  constructor(
    private readonly connection: TcpConnection,
    private readonly to: Socket,
    private readonly onWritten: () => void,
  ) {}

  /** Hands over what has arrived, as far as the socket takes it. @returns bytes */
  pump(): number {
    const { connection, to } = this;
    let total = 0;
    // One system call for all.
    to.cork();
    while (to.writable && to.writableLength < WAITING) {
      const part = connection.lend();
      if (part === undefined) break;
      this.lent.push(part);
      total += part.length;
      to.write(part, this.written);
    }
    to.uncork();
    return total;
  }

  /** Writes are done, or have failed, one after the other. */
  private readonly written = (): void => {
    this.connection.giveBack(this.lent.shift() as Buffer);
    this.onWritten();
  };
}
