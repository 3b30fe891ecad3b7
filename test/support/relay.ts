import * as path from "node:path";
import type { Namespace } from "./namespace";
import type { Program } from "./process";
import type { RelayCounts, RelayOptions } from "./programs/udp-relay";
import { PROGRAMS } from "./repo";

/** A line that delays, reorders, doubles and drops, run in the namespace between two ends. */
export class Relay {
  private constructor(private readonly program: Program) {}

  /** @param where it runs */
  static async start(where: Pick<Namespace, "start">, options: RelayOptions): Promise<Relay> {
    const program = await where.start([process.execPath, path.join(PROGRAMS, "udp-relay.js"), JSON.stringify(options)]);
    await program.said(/ready/);
    return new Relay(program);
  }

  async counts(): Promise<RelayCounts> {
    this.program.stdout = "";
    this.program.signal("SIGUSR2");
    const [line] = await this.program.said(/\{.*\}/);
    return JSON.parse(line);
  }
}
