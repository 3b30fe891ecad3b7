/** One client of the SOCKS5 proxy, from its greeting on. */
import * as dgram from "node:dgram";
import type * as net from "node:net";
import { accountOfPeer, accountOfSender } from "./accounts";
import { takeMessage } from "./socks-reader";
import * as socks from "./socks5";
import { splice } from "./splice";
import type { Datagrams, Way } from "./way";

export interface Credentials {
  /** Compares in constant time. */
  matches(user: string, password: string): boolean;
}

/**
 * Serves one connection to its end. Its errors end it and nothing else.
 * @param admitted called when it has shown its password and said what it wants.
 */
export async function serveSocks(
  socket: net.Socket,
  way: Way,
  credentials: Credentials,
  admitted: () => void,
): Promise<void> {
  const gone = new AbortController();
  socket.on("error", () => gone.abort());
  socket.on("close", () => gone.abort());
  try {
    const methods = await takeMessage(socket, socks.parseGreeting);
    if (!methods?.includes(socks.METHOD.password)) {
      refuse(socket, Buffer.from([socks.VERSION, socks.METHOD.noneAcceptable]));
      return;
    }
    socket.write(Buffer.from([socks.VERSION, socks.METHOD.password]));
    const told = await takeMessage(socket, socks.parsePassword);
    const known = told !== undefined && credentials.matches(told.user, told.password);
    const verdict = Buffer.from([socks.AUTH_VERSION, known ? 0 : 1]);
    if (!known) {
      refuse(socket, verdict);
      return;
    }
    socket.write(verdict);
    const request = await takeMessage(socket, socks.parseRequest);
    if (request === undefined) {
      refuse(socket, socks.reply(socks.REPLY.addressNotSupported));
      return;
    }
    admitted();
    if (request.command === socks.COMMAND.connect) await connect(socket, request, way, gone.signal);
    else if (request.command === socks.COMMAND.udpAssociate) await associate(socket, way);
    else refuse(socket, socks.reply(socks.REPLY.commandNotSupported));
  } catch {
    socket.destroy();
  }
}

/** Says so and is done with it, whether or not the other side ends as well. */
function refuse(socket: net.Socket, verdict: Buffer): void {
  socket.end(verdict);
  // A close with bytes unread would be a reset, which may overtake the verdict.
  socket.resume();
  socket.destroySoon();
}

async function connect(socket: net.Socket, target: socks.HostPort, way: Way, signal: AbortSignal): Promise<void> {
  try {
    const stream = await way.connect(target.host, target.port, signal);
    socket.write(socks.reply(socks.REPLY.succeeded));
    splice(socket, stream);
  } catch (error) {
    refuse(socket, socks.reply(socks.replyOf((error as NodeJS.ErrnoException).code)));
  }
}

/** The association lives as long as its connection (RFC 1928 section 7). */
async function associate(socket: net.Socket, way: Way): Promise<void> {
  const account = accountOfPeer(socket);
  // Its datagrams could not be told from others'.
  if (account === "gone") return refuse(socket, socks.reply(socks.REPLY.failure));
  const local = socket.localAddress!;
  const relay = dgram.createSocket(local.includes(":") && !local.startsWith("::ffff:") ? "udp6" : "udp4");
  let client: dgram.RemoteInfo | undefined;
  let datagrams: Datagrams | undefined;
  const close = () => {
    datagrams?.close();
    relay.removeAllListeners("message");
    relay.close(() => undefined);
  };
  relay.on("error", () => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    relay.once("error", reject);
    relay.bind(0, local.replace(/^::ffff:/, ""), () => {
      relay.removeListener("error", reject);
      resolve();
    });
  });
  if (socket.destroyed) return close();
  socket.on("close", close);
  socket.on("end", () => socket.end());
  // What else it says means nothing.
  socket.resume();
  const bound = relay.address();
  datagrams = way.datagrams((from, data) => {
    if (!client) return;
    const header = socks.datagramHeader({ host: from.address, port: from.port });
    // One that is too long with its header is lost, and is not the end of the association.
    relay.send([header, data], client.port, client.address, () => undefined);
  });
  relay.on("message", (message, sender) => {
    // The first one of the account that asked for it is the client; nobody else takes its place.
    // What bears the relay's own end for its sender is forged: it would answer itself.
    if (client === undefined && sender.port !== bound.port && accountOfSender(sender) === account) client = sender;
    if (client === undefined || sender.port !== client.port || sender.address !== client.address) return;
    const parsed = socks.parseDatagram(message);
    if (typeof parsed === "string") return;
    datagrams?.send(parsed.value.host, parsed.value.port, message.subarray(parsed.length));
  });
  socket.write(socks.reply(socks.REPLY.succeeded, { host: bound.address, port: bound.port }));
}
