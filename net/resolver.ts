/** Questions to a network's own DNS server, from inside the network. */
import * as packet from "dns-packet";
import { WarrenError } from "../runtime/errors";
import type { Stack } from "../runtime/netstack/stack";
import { TcpStream, UdpSocket } from "../runtime/netstack/streams";

const DNS_PORT = 53;
/** Milliseconds until a question is asked again, and how often. */
const PATIENCE = 1000;
const ATTEMPTS = 4;

export interface ResolverOptions {
  /** Numeric addresses of the servers, in order of preference. */
  readonly servers: readonly string[];
  /** What is put behind a name without a dot. */
  readonly searchDomains: readonly string[];
}

export class Resolver {
  constructor(
    private readonly stack: Stack,
    private readonly options: ResolverOptions,
  ) {}

  /**
   * @returns the addresses of a name, of the families that the stack has; IPv4 first.
   * @throws WarrenError WARREN_NOT_FOUND where the network has no such name, WARREN_NOT_READY where its server does not answer
   */
  async resolve(name: string): Promise<string[]> {
    for (const candidate of this.candidates(name)) {
      const found = await Promise.all(this.types().map((type) => this.ask(candidate, type)));
      if (found.flat().length > 0) return found.flat();
    }
    throw new WarrenError("WARREN_NOT_FOUND", `The network has no member of the name ${name}.`, { path: name });
  }

  private candidates(name: string): string[] {
    const plain = name.replace(/\.$/, "");
    return plain.includes(".") ? [plain] : this.options.searchDomains.map((domain) => `${plain}.${domain}`);
  }

  private types(): ("A" | "AAAA")[] {
    const { addresses } = this.stack;
    return [
      ...(addresses.some((address) => !address.includes(":")) ? (["A"] as const) : []),
      ...(addresses.some((address) => address.includes(":")) ? (["AAAA"] as const) : []),
    ];
  }

  private async ask(name: string, type: "A" | "AAAA"): Promise<string[]> {
    const { servers } = this.options;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const server = servers[attempt % servers.length];
      if (server === undefined) break;
      const id = Math.floor(Math.random() * 65_536);
      const query = { type: "query" as const, id, flags: packet.RECURSION_DESIRED, questions: [{ type, name }] };
      let answer = await this.overUdp(server, packet.encode(query), id);
      if (answer?.flag_tc) answer = await this.overTcp(server, packet.streamEncode(query));
      if (answer === undefined) continue;
      return (answer.answers ?? []).flatMap((record) => (record.type === type ? [record.data] : []));
    }
    throw new WarrenError(
      "WARREN_NOT_READY",
      `The network's DNS server (${servers.join(", ") || "none is known"}) did not answer: is the tunnel up, and its gateway there?`,
      { path: name },
    );
  }

  private overUdp(server: string, query: Uint8Array, id: number): Promise<packet.DecodedPacket | undefined> {
    return new Promise((resolve, reject) => {
      const socket = new UdpSocket(this.stack);
      const done = (answer: packet.DecodedPacket | undefined) => {
        clearTimeout(timer);
        socket.close();
        resolve(answer);
      };
      const timer = setTimeout(() => done(undefined), PATIENCE);
      socket.on("message", (message: Uint8Array, from: { address: string; port: number }) => {
        if (from.address !== server || from.port !== DNS_PORT) return;
        const answer = decode(message);
        if (answer?.id === id && answer.type === "response") done(answer);
      });
      // An ICMP error says that nobody is there now; the next attempt may find somebody.
      socket.on("error", () => undefined);
      try {
        socket.send(query, { address: server, port: DNS_PORT });
      } catch (error) {
        clearTimeout(timer);
        socket.close();
        reject(error);
      }
    });
  }

  private overTcp(server: string, query: Uint8Array): Promise<packet.DecodedPacket | undefined> {
    return new Promise((resolve) => {
      const stream = TcpStream.connect(this.stack, { address: server, port: DNS_PORT });
      let got = Buffer.alloc(0);
      const done = (answer: packet.DecodedPacket | undefined) => {
        clearTimeout(timer);
        stream.destroy();
        resolve(answer);
      };
      const timer = setTimeout(() => done(undefined), PATIENCE);
      stream.on("error", () => done(undefined));
      stream.on("data", (part: Buffer) => {
        got = Buffer.concat([got, part]);
        if (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0))
          done(decode(got.subarray(2, 2 + got.readUInt16BE(0))));
      });
      stream.on("end", () => done(undefined));
      stream.write(query);
    });
  }
}

function decode(message: Uint8Array): packet.DecodedPacket | undefined {
  try {
    return packet.decode(Buffer.from(message));
  } catch {
    return undefined;
  }
}
