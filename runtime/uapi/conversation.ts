/** One connection to a UAPI socket: bytes in, requests out. Pure. */
import { type Failure, failure, UapiErrno } from "./failure";
import { type SetOperation, SetReader } from "./operations";

export type Request =
  | { readonly kind: "get" }
  /** What came before a fault is done all the same, as wireguard-go does it line by line; the answer tells the fault. */
  | { readonly kind: "set"; readonly operations: readonly SetOperation[]; readonly failure?: Failure }
  /** To be answered with the failure; what follows cannot be understood, so the connection ends then. */
  | { readonly kind: "refuse"; readonly failure: Failure }
  /** Nothing to answer: the connection ends. */
  | { readonly kind: "close" };

/** Bytes of the longest line. [Go's bufio.MaxScanTokenSize] */
const MAX_LINE = 65536;

export class Conversation {
  private rest = "";
  private state: "between" | "get" | "set" | "closed" = "between";
  private reader = new SetReader();
  private operations: SetOperation[] = [];

  /** @returns the requests that are complete with these bytes. */
  feed(bytes: Uint8Array): Request[] {
    const requests: Request[] = [];
    const text = this.rest + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    let from = 0;
    for (let at = text.indexOf("\n"); at >= 0 && this.state !== "closed"; at = text.indexOf("\n", from)) {
      this.line(text.slice(from, at), requests);
      from = at + 1;
    }
    this.rest = this.state === "closed" ? "" : text.slice(from);
    if (this.rest.length > MAX_LINE) this.fail(failure(UapiErrno.io, "a line is longer than 64 KiB"), requests);
    // After "get=1" one empty line is due; wireguard-go looks at its first byte at once.
    else if (this.state === "get" && this.rest !== "") this.fail(trailing(), requests);
    return requests;
  }

  /** The other side sends no more: an unfinished set counts as finished. */
  end(): Request[] {
    const requests: Request[] = [];
    if (this.state === "set") {
      const last = this.rest.replace(/\r$/, "");
      this.rest = "";
      if (last !== "") this.setLine(last, requests);
      if (this.state === "set") this.finishSet(requests);
    }
    if (this.state !== "closed") requests.push({ kind: "close" });
    this.state = "closed";
    return requests;
  }

  private line(line: string, requests: Request[]): void {
    if (this.state === "between") {
      if (line === "set=1") this.state = "set";
      else if (line === "get=1") this.state = "get";
      else {
        requests.push({ kind: "close" });
        this.state = "closed";
      }
    } else if (this.state === "get") {
      if (line !== "") {
        this.fail(trailing(), requests);
        return;
      }
      this.state = "between";
      requests.push({ kind: "get" });
    } else {
      const plain = line.endsWith("\r") ? line.slice(0, -1) : line;
      if (plain === "") this.finishSet(requests);
      else this.setLine(plain, requests);
    }
  }

  private setLine(line: string, requests: Request[]): void {
    if (line.length > MAX_LINE) {
      this.fail(failure(UapiErrno.io, "a line is longer than 64 KiB"), requests);
      return;
    }
    const read = this.reader.read(line);
    if ("errno" in read) this.fail(read, requests);
    else this.operations.push(read);
  }

  private finishSet(requests: Request[]): void {
    requests.push({ kind: "set", operations: this.operations });
    this.operations = [];
    this.reader = new SetReader();
    this.state = "between";
  }

  private fail(failed: Failure, requests: Request[]): void {
    if (this.state === "set") requests.push({ kind: "set", operations: this.operations, failure: failed });
    else requests.push({ kind: "refuse", failure: failed });
    this.operations = [];
    this.rest = "";
    this.state = "closed";
  }
}

function trailing(): Failure {
  return failure(UapiErrno.invalid, "get=1 is followed by more than an empty line");
}
