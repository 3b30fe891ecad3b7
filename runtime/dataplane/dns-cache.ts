/** Answers of the networks' own names, kept on the thread that has the packets: most questions then never leave it. */
import type { KeepAnswer } from "./config";

interface Kept {
  readonly reply: Uint8Array;
  readonly turn: KeepAnswer["turn"];
}

/** Answers that are kept; when there are more, it begins anew. */
const MOST_KEPT = 16_384;
/** Bytes of a question that is worth it. */
const LONGEST_QUESTION = 320;
/** Of a DNS message. */
const ID_BYTES = 2;

export class DnsCache {
  private readonly kept = new Map<string, Map<string, Kept>>();
  private count = 0;
  private generation: number | undefined;
  private out = Buffer.alloc(2048);

  /** Answers of other generations no longer hold, those that are still on their way here neither. */
  setGeneration(generation: number): void {
    this.generation = generation;
    this.clear();
  }

  keep(gateway: string, question: Uint8Array, reply: Uint8Array, { generation, turn }: KeepAnswer): void {
    if (generation !== this.generation || question.length > LONGEST_QUESTION || reply.length > this.out.length) return;
    if (this.count >= MOST_KEPT) this.clear();
    let ofGateway = this.kept.get(gateway);
    if (ofGateway === undefined) {
      ofGateway = new Map();
      this.kept.set(gateway, ofGateway);
    }
    const key = keyOf(question);
    if (!ofGateway.has(key)) this.count++;
    ofGateway.set(key, { reply, turn });
  }

  /** @returns the answer to a question that differs in its id only, valid until the next call */
  find(gateway: string, question: Uint8Array): Uint8Array | undefined {
    const ofGateway = this.kept.get(gateway);
    if (ofGateway === undefined || question.length > LONGEST_QUESTION) return undefined;
    const found = ofGateway.get(keyOf(question));
    if (found === undefined) return undefined;
    const { reply, turn } = found;
    const out = this.out.subarray(0, reply.length);
    out.set(reply);
    out[0] = question[0]!;
    out[1] = question[1]!;
    if (turn !== undefined) {
      const { at, size, count } = turn;
      const end = at + size * count;
      const split = at + size * (((question[0]! << 8) | question[1]!) % count);
      out.set(reply.subarray(split, end), at);
      out.set(reply.subarray(at, split), at + end - split);
    }
    return out;
  }

  private clear(): void {
    this.kept.clear();
    this.count = 0;
  }
}

/** All but the id. */
function keyOf(question: Uint8Array): string {
  return Buffer.from(question.buffer, question.byteOffset, question.length).toString("latin1", ID_BYTES);
}
