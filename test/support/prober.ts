/** A resident program in a namespace that answers others, and starts flows to them: see programs/flow-prober.ts. */
import * as path from "node:path";
import * as readline from "node:readline";
import type { Namespace } from "./namespace";
import type { Program } from "./process";
import type { Arrived, Flow, ProbeReply, ProberOptions } from "./programs/flow-prober";
import { PROGRAMS } from "./repo";

export type { Flow, Outcome } from "./programs/flow-prober";

export class Prober {
  private readonly lines: AsyncIterator<string>;

  private constructor(private readonly program: Program) {
    this.lines = readline.createInterface({ input: program.child.stdout! })[Symbol.asyncIterator]();
  }

  static async start(namespace: Namespace, options: ProberOptions): Promise<Prober> {
    await namespace.run(["sysctl", "-q", "-w", "net.ipv4.ping_group_range=0 0"]);
    const file = path.join(PROGRAMS, "flow-prober.js");
    const prober = new Prober(await namespace.start([process.execPath, file, JSON.stringify(options)]));
    await prober.answer();
    return prober;
  }

  /** Starts flows, or goes on with those that run; done when what is expected has come, and all else has had its time. */
  async probe(round: number, flows: readonly Flow[]): Promise<ProbeReply["outcomes"]> {
    return (await this.ask<ProbeReply>(JSON.stringify({ round, flows }))).outcomes;
  }

  /** Ids of others' flows of which something came here in a round. */
  arrived(round: number): Promise<Arrived> {
    return this.ask<Arrived>(`arrived ${round}`);
  }

  private ask<T>(line: string): Promise<T> {
    this.program.child.stdin!.write(`${line}\n`);
    return this.answer<T>();
  }

  private async answer<T>(): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`ended: ${this.program.output}`);
    return JSON.parse(value);
  }
}
