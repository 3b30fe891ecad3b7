/**
 * Loaded first by Node programs on the link `userspace` (NODE_OPTIONS=--require): their connections into the network go through their
 * app's proxy, whatever makes them (net, http, tls, fetch). It stands alone: a copy of the built file lies where every account can read it.
 *
 * The proxy is asked for a port on loopback that leads to the destination, once; then Node connects there as it always does. So errors,
 * TLS, writes before the connection and time-outs are Node's own.
 */
import * as http from "node:http";
import * as net from "node:net";

interface Grant {
  /** On loopback. */
  readonly port: number;
  readonly address: string;
  /** What the destination's name led to. */
  readonly remote: string;
}

/** `perhaps`: a name without a dot may be one of the network's domain, which goes first (resolv.conf(5)), or the machine's own. */
type Membership = "inside" | "perhaps" | "outside";

/** Says of a host whether it is in the network. @param list CIDR ranges and `.domain`s, with commas. */
function membership(list: string): (host: string) => Membership {
  const ranges = new net.BlockList();
  const domains: string[] = [];
  for (const entry of list.split(",")) {
    const [address, prefix] = entry.split("/") as [string, string?];
    if (entry.startsWith(".")) domains.push(entry.toLowerCase());
    else if (prefix !== undefined && net.isIP(address) !== 0)
      ranges.addSubnet(address, Number(prefix), net.isIPv6(address) ? "ipv6" : "ipv4");
  }
  return (host) => {
    const family = net.isIP(host);
    if (family !== 0) return ranges.check(host, family === 6 ? "ipv6" : "ipv4") ? "inside" : "outside";
    const name = host.toLowerCase().replace(/\.$/, "");
    if (domains.some((domain) => name.endsWith(domain))) return "inside";
    return host === "" || host.includes(".") || name === "localhost" ? "outside" : "perhaps";
  };
}

function install(proxy: URL, membershipOf: (host: string) => Membership): void {
  const connect = net.Socket.prototype.connect as (this: net.Socket, ...args: unknown[]) => net.Socket;

  /** Asks the proxy; its answer or an error as Node words it. */
  function ask(host: string, port: number, done: (outcome: Grant | NodeJS.ErrnoException) => void): void {
    const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    const credentials = Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
    const request = http.request({
      // Straight to the proxy, not through what this file changes.
      createConnection: () => connect.call(new net.Socket(), { host: proxy.hostname, port: Number(proxy.port) }),
      method: "POST",
      path: `/grant?to=${encodeURIComponent(authority)}`,
      headers: { Host: "warren", "Proxy-Authorization": `Basic ${credentials}`, Connection: "close" },
    });
    const fail = (code: string) =>
      done(
        Object.assign(
          new Error(code === "ENOTFOUND" ? `getaddrinfo ENOTFOUND ${host}` : `connect ${code} ${authority}`),
          {
            code,
            syscall: code === "ENOTFOUND" ? "getaddrinfo" : "connect",
            address: host,
            port,
          },
        ),
      );
    request.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? "ECONNREFUSED"));
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => {
        try {
          const answer = JSON.parse(text) as Partial<Grant> & { code?: string };
          if (answer.port === undefined) fail(answer.code ?? "ECONNREFUSED");
          else done(answer as Grant);
        } catch {
          fail("ECONNREFUSED");
        }
      });
    });
    request.end();
  }

  net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]): net.Socket {
    // Node passes its own normalized arguments as one array.
    const given = (Array.isArray(args[0]) ? args[0] : args) as unknown[];
    const callback = given.find((arg) => typeof arg === "function") as (() => void) | undefined;
    const options = (
      typeof given[0] === "object" && given[0] !== null
        ? given[0]
        : { port: given[0], host: typeof given[1] === "string" ? given[1] : undefined }
    ) as net.TcpNetConnectOpts & { path?: string | null };
    const { host, port, path } = options;
    if (path || typeof host !== "string" || (typeof port !== "number" && typeof port !== "string"))
      return connect.apply(this, args);
    const membership = membershipOf(host);
    if (membership === "outside") return connect.apply(this, args);
    if (callback) this.once("connect", callback);
    const socket = this as unknown as { connecting: boolean };
    socket.connecting = true;
    ask(host, Number(port), (grant) => {
      if (this.destroyed) return;
      if (grant instanceof Error) {
        if (membership === "perhaps" && grant.code === "ENOTFOUND") connect.call(this, options);
        else this.destroy(grant);
        return;
      }
      const { lookup, localAddress, localPort, family, ...rest } = options;
      // Before anyone who waits for the connection asks where it leads.
      this.prependOnceListener("connect", () => {
        Object.defineProperty(this, "remoteAddress", { value: grant.remote, configurable: true });
        Object.defineProperty(this, "remotePort", { value: Number(port), configurable: true });
      });
      connect.call(this, { ...rest, host: grant.address, port: grant.port });
    });
    return this;
  } as typeof net.Socket.prototype.connect;
}

const { WARREN_PROXY, WARREN_PROXY_FOR } = process.env;
if (WARREN_PROXY && WARREN_PROXY_FOR) install(new URL(WARREN_PROXY), membership(WARREN_PROXY_FOR));
