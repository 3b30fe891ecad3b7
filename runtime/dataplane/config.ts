/** What the agent tells the data plane: the whole desired state of gateways and links; the data plane finds the difference. */

/** A UDP port; one per host, shared by its gateways. */
export interface PortConfig {
  readonly id: string;
  /** Local addresses to bind, IPv4 and IPv6 where the machine has it; none: closed for now. */
  readonly listen: readonly string[];
  /** 0: any free port; the answer says which. */
  readonly port: number;
  /** SO_MARK of all that is sent, for policy routing; needs root. @default 0, none */
  readonly fwmark?: number;
}

export interface PeerConfig {
  /** base64. */
  readonly publicKey: string;
  readonly presharedKey?: string;
  /** CIDR ranges. */
  readonly allowedIps: readonly string[];
  /** `address:port` or `[address]:port`; only numeric addresses. A peer that roams keeps the learnt one until this text changes. */
  readonly endpoint?: string;
  /** Seconds; 0: off. */
  readonly persistentKeepalive: number;
  /** Start a handshake at once (after a restart of the data plane, so that traffic returns without waiting for the other side). */
  readonly initiate: boolean;
  /** True: the gateway of another host, which `.1` and `.2` do not answer; else a stock client. */
  readonly gateway?: boolean;
}

export interface LinkConfig {
  /** Instance id. */
  readonly id: string;
  /** Where the TUN descriptor comes from: the keeper, by sandbox id, or opened here by name (tests, stand-alone). */
  readonly source:
    | { readonly kind: "keeper"; readonly sandbox: string }
    | {
        readonly kind: "open";
        readonly name: string;
        /** Path of the network namespace in which to open it; root only. Default: the process's own. */
        readonly netns?: string;
        /** The device carries a virtio header before each packet, and so up to 64 KiB at once. @default true */
        readonly vnetHeader?: boolean;
      }
    /** A TUN device that this process has open; the data plane works on a duplicate of the descriptor. */
    | { readonly kind: "descriptor"; readonly fd: number }
    /** A TCP/IP stack of this process takes the packets: `pipe(id)` of the data plane is its end. */
    | { readonly kind: "stack" };
  /** Addresses of the app; packets from the link with another source are dropped and counted. */
  readonly addresses: readonly string[];
  /** Packets to addresses outside the network go to the gateway's own stack. @default false */
  readonly egress?: boolean;
}

/** A service address: connections to it are spread over backends. */
export interface ServiceConfig {
  /** Member id of the app. */
  readonly id: string;
  /** One per family. */
  readonly addresses: readonly string[];
  readonly backends: readonly {
    /** One per family, as those of the service. */
    readonly addresses: readonly string[];
    readonly healthy: boolean;
    /** Lower is nearer; of the healthy ones the nearest share the connections. */
    readonly distance: number;
  }[];
}

export type PolicyProtocol = "any" | "tcp" | "udp" | "icmp";

/** A rule of the policy with names resolved; connections that it allows may start, and their answers pass. */
export interface PolicyRuleConfig {
  /** CIDR ranges. */
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** `icmp` is ICMPv6 too. */
  readonly protocol: PolicyProtocol;
  /** First and last of each span; empty: all. */
  readonly ports: readonly (readonly [number, number])[];
}

export interface PolicyConfig {
  /** CIDR ranges that only what a rule allows may reach; all others are open. */
  readonly closed: readonly string[];
  readonly rules: readonly PolicyRuleConfig[];
}

export interface GatewayConfig {
  /** `NETWORK_ID/HOST_ID`. */
  readonly id: string;
  readonly port: string;
  /** base64. */
  readonly privateKey: string;
  readonly mtu: number;
  /** `.1`: answers ICMP echo of this host's links and peers, nothing else. */
  readonly gatewayIps: readonly string[];
  /** `.2`: UDP port 53 goes to the DNS handler, TCP port 53 to `stack`; answers ICMP echo. */
  readonly dnsIps: readonly string[];
  /** The network's own ranges, in CIDR notation: nothing in them goes to `stack` but its addresses. @default [] */
  readonly ranges?: readonly string[];
  /**
   * The gateway's own TCP/IP stack (source `stack`). Its addresses are those that the gateway speaks with; it also has TCP port 53
   * of `dnsIps`, and takes packets of links with `egress` for addresses outside the network.
   */
  readonly stack?: LinkConfig;
  /** Absent: all members may talk. */
  readonly policy?: PolicyConfig;
  readonly services?: readonly ServiceConfig[];
  readonly links: readonly LinkConfig[];
  readonly peers: readonly PeerConfig[];
  /**
   * No switch but a wire between its one link and its peers, as `warren-wg` needs it: addresses, services and policy mean nothing here.
   * Not `up`, its sessions are forgotten and nothing is sent, as wireguard-go does when its device is down.
   */
  readonly standalone?: { readonly up: boolean };
}

/** Changes of one gateway's peers between two calls of `apply`; the cost is that of the change, not of all peers. */
export interface PeerChanges {
  readonly gateway: string;
  /** base64 public keys; comes first. */
  readonly remove: readonly string[];
  readonly set: readonly {
    readonly config: PeerConfig;
    /** The endpoint is where the peer is from now on, though it has roamed since. */
    readonly moved: boolean;
  }[];
}

export interface DataPlaneConfig {
  readonly ports: readonly PortConfig[];
  readonly gateways: readonly GatewayConfig[];
  /**
   * A non-blocking descriptor of this process whose reader is only told that something came (event `watched`); it is read empty. It
   * stays open as long as it is configured. Not on the portable path.
   */
  readonly watch?: number;
}

export interface ApplyResult {
  /** Port id → the UDP port in use. */
  readonly ports: Readonly<Record<string, number>>;
  /** What could not be done, each with the object's id; the rest was applied. */
  readonly problems: readonly { readonly id: string; readonly message: string }[];
}

export interface PeerStatus {
  readonly gateway: string;
  readonly publicKey: string;
  readonly endpoint?: string;
  /** Milliseconds since 1970; absent: none yet. */
  readonly latestHandshake?: number;
  /** Milliseconds to its gateway or client and back, from handshakes, smoothed; absent: none measured yet. */
  readonly roundTrip?: number;
  /** Bytes. */
  readonly rx: number;
  readonly tx: number;
  /** CIDR ranges as configured; absent for a stand-alone interface. */
  readonly allowedIps?: readonly string[];
  /** Seconds; 0: off. Absent likewise. */
  readonly persistentKeepalive?: number;
}

export interface LinkStatus {
  readonly id: string;
  /** Packets. */
  readonly rx: number;
  readonly tx: number;
  /** By reason: `source`, `no-route`, `no-peer`, `queue`, `malformed`, … */
  readonly dropped: Readonly<Record<string, number>>;
}

export interface GatewayStatus {
  readonly id: string;
  /** base64. */
  readonly publicKey: string;
  /** Id of its port, and the UDP port in use; 0: none. */
  readonly port: string;
  readonly listenPort: number;
  /** Packets from peers, and of the gateway's own, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
}

export interface PortStatus {
  readonly id: string;
  /** Outer datagrams by reason: `queue`, `error`, and those of the WireGuard protocol. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Outer datagrams that the system did not take several at once, as on a path that is too narrow for them; sent one by one, not lost. */
  readonly refused: number;
}

export interface DataPlaneStatus {
  readonly aead: string;
  readonly peers: readonly PeerStatus[];
  readonly links: readonly LinkStatus[];
  readonly gateways: readonly GatewayStatus[];
  readonly ports: readonly PortStatus[];
}

/** What happens between two calls of `apply`. */
export type DataPlaneEvent =
  /** An authenticated packet came from another address than before; worth keeping over a restart. */
  | { readonly type: "endpoint"; readonly gateway: string; readonly publicKey: string; readonly endpoint: string }
  | {
      readonly type: "handshake";
      readonly gateway: string;
      readonly publicKey: string;
      /** Milliseconds, as `PeerStatus` has it. */
      readonly roundTrip: number;
    }
  | { readonly type: "handshake-gave-up"; readonly gateway: string; readonly publicKey: string }
  /** Its device went away; the next `apply` opens it again. */
  | { readonly type: "link-lost"; readonly link: string; readonly reason: string }
  /** Something came on the descriptor `watch`. */
  | { readonly type: "watched" }
  /** The data plane itself ended without being asked to; nothing passes any more. */
  | { readonly type: "failed"; readonly reason: string };

/** A DNS query that reached `.2`. */
export interface DnsQuery {
  readonly gateway: string;
  /** The asker's address. */
  readonly from: string;
  readonly message: Uint8Array;
  /** True: it came over TCP, which takes an answer of any length. @default false */
  readonly stream?: boolean;
}

/** Answers a query, or with undefined stays silent. */
export type DnsHandler = (query: DnsQuery) => Promise<Uint8Array | undefined>;

/** How long and in which order an answer may be given again to a question that differs in its id only. */
export interface KeepAnswer {
  /** The names' when it was given. */
  readonly generation: number;
  /** Records of which another one shall be first each time: where they begin, the bytes of each, and how many there are. */
  readonly turn?: { readonly at: number; readonly size: number; readonly count: number };
}

/** Names that are answered at once, and of which answers may be kept where the packets are. */
export interface OwnNames {
  /** Another one as soon as answers that were given may no longer hold. */
  readonly generation: number;
  /** @returns undefined where the handler must be asked */
  answer(query: DnsQuery): { readonly message: Uint8Array; readonly keep?: KeepAnswer } | undefined;
  /** Calls back with each change of `generation`; returns the way to stop. */
  onChange(listener: () => void): () => void;
}
