/**
 * The control interface, version 1: the values that travel between the provider or the CLI and control.
 * One TypeBox schema per value is both the TypeScript type and the check on the wire.
 */
import { type Static, Type } from "@sinclair/typebox";

/** The Pulumi organization, project, stack and URN that an object belongs to. */
export const Owner = Type.Object({
  organization: Type.String(),
  project: Type.String(),
  stack: Type.String(),
  urn: Type.String(),
});
export type Owner = Static<typeof Owner>;

const Tags = Type.Record(Type.String(), Type.String());

/** What the registry needs to know of a network's address space; travels with each member so that a plan needs no registry. */
export const AddressSpace = Type.Object({
  name: Type.String(),
  cidr: Type.Optional(Type.String()),
  ipv6Cidr: Type.Optional(Type.String()),
  reserved: Type.Array(Type.String()),
});
export type AddressSpace = Static<typeof AddressSpace>;

export const PolicyProtocol = Type.Union([
  Type.Literal("any"),
  Type.Literal("tcp"),
  Type.Literal("udp"),
  Type.Literal("icmp"),
]);
export type PolicyProtocol = Static<typeof PolicyProtocol>;

/** Who may start a connection: a rule of an app about itself. */
export const AllowRule = Type.Object({
  /** Selectors: `*`, `NAME`, `app:NAME`, `peer:NAME`, `region:CODE`, `tag:KEY`, `tag:KEY=VALUE`. */
  from: Type.Array(Type.String(), { minItems: 1 }),
  /** `icmp` is ICMPv6 too. */
  protocol: PolicyProtocol,
  /** First and last of each span; empty: all. */
  ports: Type.Array(Type.Tuple([Type.Integer(), Type.Integer()])),
});
export type AllowRule = Static<typeof AllowRule>;

/** A rule of a network: who may start a connection to whom. */
export const PolicyRule = Type.Composite([
  AllowRule,
  Type.Object({
    /** Selectors, as `from`. */
    to: Type.Array(Type.String(), { minItems: 1 }),
  }),
]);
export type PolicyRule = Static<typeof PolicyRule>;

export const NetworkSpec = Type.Composite([
  AddressSpace,
  Type.Object({
    /** Empty: any region. */
    regions: Type.Array(Type.String()),
    domain: Type.String(),
    /** Bytes of the largest inner packet. */
    mtu: Type.Integer(),
    /** Absent or empty: all members may talk. A target that a rule names is closed to everyone else. */
    policy: Type.Optional(Type.Array(PolicyRule)),
    tags: Tags,
    /** A change gives the network a new seed, and so its gateways new keys. */
    keepers: Type.Optional(Tags),
  }),
]);
export type NetworkSpec = Static<typeof NetworkSpec>;

/**
 * One address holder of a member. `slot` is `peer` for a peer and `REGION/INDEX` (`ord/0`) for an app instance.
 * A member on a dual-stack network has both families.
 */
export const SlotAddress = Type.Object({
  slot: Type.String(),
  ipv4: Type.Optional(Type.String()),
  ipv6: Type.Optional(Type.String()),
});
export type SlotAddress = Static<typeof SlotAddress>;

export const Health = Type.Object({
  type: Type.Union([Type.Literal("tcp"), Type.Literal("http"), Type.Literal("none")]),
  port: Type.Optional(Type.Integer()),
  path: Type.Optional(Type.String()),
  /** Seconds. */
  interval: Type.Number(),
  /** Seconds. */
  timeout: Type.Number(),
  /** Failures in a row that make a healthy instance unhealthy. */
  threshold: Type.Integer(),
});
export type Health = Static<typeof Health>;

export const AppSpec = Type.Object({
  regions: Type.Array(Type.String(), { minItems: 1 }),
  /** Instances in each region. */
  instances: Type.Integer({ minimum: 1 }),
  /** 0: the app listens on no port. */
  port: Type.Integer({ minimum: 0, maximum: 65535 }),
  command: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
  /** `host:port` of something that already runs; instead of a command. */
  upstream: Type.Optional(Type.String()),
  /** sha256 of the delivered folder (see PUT /v1/sources/{hash}). */
  sourceHash: Type.Optional(Type.String()),
  /** Absolute, or relative to the delivered source. */
  cwd: Type.String(),
  user: Type.Optional(Type.String()),
  env: Tags,
  triggers: Type.Array(Type.String()),
  health: Health,
  /** Who may connect; absent: everyone that the network's policy lets. */
  allow: Type.Optional(Type.Array(AllowRule)),
  /** May reach what lies outside its network. @default true */
  egress: Type.Optional(Type.Boolean()),
  /** On the link `userspace`: an instance that listens beyond loopback has failed. @default false */
  requireLoopback: Type.Optional(Type.Boolean()),
  restart: Type.Union([Type.Literal("always"), Type.Literal("on-failure"), Type.Literal("never")]),
  tags: Tags,
});
export type AppSpec = Static<typeof AppSpec>;

export const PeerSpec = Type.Object({
  region: Type.Optional(Type.String()),
  /** base64, 32 bytes. */
  publicKey: Type.String(),
  /** base64, 32 bytes. */
  presharedKey: Type.Optional(Type.String()),
  /** Ranges behind the peer. */
  routes: Type.Array(Type.String()),
  /** How the peer reaches its gateway, where that is not loopback: the host then listens beyond loopback. */
  endpoint: Type.Optional(Type.String()),
  /** RFC 3339; past it the gateways no longer know the peer. */
  expiresAt: Type.Optional(Type.String()),
  /** Of the peer's config file, so that others than its own stack can write it too: whether it names the network's DNS server. */
  dns: Type.Optional(Type.Union([Type.Literal("off"), Type.Literal("split"), Type.Literal("all")])),
  /** Of the peer's config file too. Seconds; 0 turns keepalives off. */
  persistentKeepalive: Type.Optional(Type.Integer({ minimum: 0, maximum: 65535 })),
  tags: Tags,
});
export type PeerSpec = Static<typeof PeerSpec>;

/** PUT /v1/networks/{name}: create, resume, update or rebuild; idempotent for one owner. */
export const PutNetwork = Type.Object({
  owner: Owner,
  spec: NetworkSpec,
  /** Present on update and rebuild: what the Pulumi state knows. Absent: a fresh create. */
  known: Type.Optional(Type.Object({ id: Type.String(), seed: Type.String(), registryId: Type.String() })),
  /** Names a foreign registryId whose objects may be rebuilt here (`warren:adopt`). */
  adopt: Type.Optional(Type.String()),
});
export type PutNetwork = Static<typeof PutNetwork>;

export const NetworkRecord = Type.Object({
  id: Type.String(),
  registryId: Type.String(),
  owner: Owner,
  spec: NetworkSpec,
  /** The first usable address of the first family (and of each family in `gatewayIps`). */
  gatewayIp: Type.String(),
  dnsIp: Type.String(),
  gatewayIps: Type.Array(Type.String()),
  dnsIps: Type.Array(Type.String()),
  /** base64, 32 bytes; only in the answer to PUT. */
  seed: Type.Optional(Type.String()),
  createdAt: Type.String(),
});
export type NetworkRecord = Static<typeof NetworkRecord>;

const PutMemberCommon = {
  owner: Owner,
  name: Type.String(),
  /** The addresses that `check` planned, one entry per slot. One that is taken meanwhile is planned anew, unless it is pinned. */
  addresses: Type.Array(SlotAddress),
  /** The pinned address of the first slot: that one or none. */
  ip: Type.Optional(Type.String()),
  known: Type.Optional(Type.Object({ id: Type.String(), registryId: Type.String() })),
  adopt: Type.Optional(Type.String()),
};

/** PUT /v1/networks/{network}/members/{name}; {network} is an id or a name. */
export const PutMember = Type.Union([
  Type.Object({ ...PutMemberCommon, kind: Type.Literal("app"), app: AppSpec }),
  Type.Object({ ...PutMemberCommon, kind: Type.Literal("peer"), peer: PeerSpec }),
]);
export type PutMember = Static<typeof PutMember>;

export const GatewayInfo = Type.Object({
  hostId: Type.String(),
  region: Type.String(),
  /** base64. */
  publicKey: Type.String(),
  /** `host:port`, where a peer on this machine or, with a public endpoint, elsewhere reaches it. */
  endpoint: Type.String(),
});
export type GatewayInfo = Static<typeof GatewayInfo>;

export const MemberRecord = Type.Object({
  id: Type.String(),
  registryId: Type.String(),
  networkId: Type.String(),
  networkName: Type.String(),
  owner: Owner,
  name: Type.String(),
  kind: Type.Union([Type.Literal("app"), Type.Literal("peer")]),
  addresses: Type.Array(SlotAddress),
  /** Of an app: the address (slot `service`) that is spread over its healthy instances. */
  service: Type.Optional(SlotAddress),
  app: Type.Optional(AppSpec),
  peer: Type.Optional(PeerSpec),
  /** True for a peer with a pre-shared key, also where a listing leaves the key itself out. */
  hasPresharedKey: Type.Optional(Type.Boolean()),
  /** For a peer: the gateway that it uses. */
  gateway: Type.Optional(GatewayInfo),
  createdAt: Type.String(),
});
export type MemberRecord = Static<typeof MemberRecord>;

/** One of the members constructed before this one on its network, in order. */
export const Before = Type.Object({
  name: Type.String(),
  slots: Type.Array(Type.String()),
  ip: Type.Optional(Type.String()),
});
export type Before = Static<typeof Before>;

/** POST /v1/plan: which addresses would this member get? Changes nothing. */
export const PlanRequest = Type.Object({
  network: AddressSpace,
  /** The network's id where it is known. */
  networkId: Type.Optional(Type.String()),
  owner: Owner,
  name: Type.String(),
  slots: Type.Array(Type.String(), { minItems: 1 }),
  /** A pinned address of either family, for the first slot. */
  ip: Type.Optional(Type.String()),
  /** What the state says it had. */
  old: Type.Array(SlotAddress),
  before: Type.Array(Before),
});
export type PlanRequest = Static<typeof PlanRequest>;
export const PlanAnswer = Type.Object({ addresses: Type.Array(SlotAddress) });
export type PlanAnswer = Static<typeof PlanAnswer>;

/** GET /v1/members/{id}/ready?wait=SECONDS: answers when the member works or the wait is over. */
export const Readiness = Type.Object({
  ready: Type.Boolean(),
  /** A sentence for each thing that is still missing. */
  missing: Type.Array(Type.String()),
  /** Set when waiting longer cannot help (the command does not exist, it ended at once). */
  failed: Type.Optional(Type.String()),
  /** Things a person should hear of all the same. */
  warnings: Type.Array(Type.String()),
});
export type Readiness = Static<typeof Readiness>;

export const InstanceStatus = Type.Object({
  id: Type.String(),
  memberId: Type.String(),
  slot: Type.String(),
  region: Type.String(),
  hostId: Type.String(),
  /** `waiting` (no host yet) | `preparing` | `starting` | `healthy` | `unhealthy` | `backoff` | `stopped` | `failed`. */
  state: Type.String(),
  detail: Type.Optional(Type.String()),
  pid: Type.Optional(Type.Integer()),
  restarts: Type.Integer(),
  link: Type.Optional(Type.String()),
  ipv4: Type.Optional(Type.String()),
  ipv6: Type.Optional(Type.String()),
  /** Things a person should hear of: where it listens beyond loopback. */
  warnings: Type.Optional(Type.Array(Type.String())),
});
export type InstanceStatus = Static<typeof InstanceStatus>;

export const TunnelStatus = Type.Object({
  networkId: Type.String(),
  hostId: Type.String(),
  /** The remote side: a host's gateway or a peer. */
  remote: Type.String(),
  remoteKind: Type.Union([Type.Literal("gateway"), Type.Literal("peer")]),
  publicKey: Type.String(),
  endpoint: Type.Optional(Type.String()),
  /** RFC 3339; absent: no handshake yet. */
  latestHandshake: Type.Optional(Type.String()),
  /** Bytes. */
  rx: Type.Integer(),
  tx: Type.Integer(),
  /** CIDR ranges that lead into it. */
  allowedIps: Type.Optional(Type.Array(Type.String())),
  /** Seconds; 0: off. */
  persistentKeepalive: Type.Optional(Type.Integer()),
});
export type TunnelStatus = Static<typeof TunnelStatus>;

/** The near end of tunnels: one network on one host of this machine. */
export const GatewayStatus = Type.Object({
  networkId: Type.String(),
  hostId: Type.String(),
  publicKey: Type.String(),
  /** UDP port; 0: none yet. */
  listenPort: Type.Integer(),
});
export type GatewayStatus = Static<typeof GatewayStatus>;

/** A TCP/IP stack of the daemon's own: of an app on the link `userspace`, of a gateway; or what all apps share on their way out. */
export const StackStatus = Type.Object({
  /** Instance id, `NETWORK_ID/HOST_ID/stack`, or `outside`. */
  id: Type.String(),
  /** Packets; one of 64 KiB that is split later counts once. */
  packetsIn: Type.Integer(),
  packetsOut: Type.Integer(),
  /** TCP connections that are open now, and the bytes that they buffer. */
  connections: Type.Integer(),
  memory: Type.Integer(),
  /** What went no further, by reason. */
  lost: Type.Record(Type.String(), Type.Integer()),
});
export type StackStatus = Static<typeof StackStatus>;

export const HostStatus = Type.Object({
  id: Type.String(),
  region: Type.String(),
  /** UDP port. */
  port: Type.Integer(),
  endpoint: Type.String(),
});
export type HostStatus = Static<typeof HostStatus>;

/** GET /v1/status */
export const Status = Type.Object({
  version: Type.String(),
  apiVersion: Type.Integer(),
  registryId: Type.String(),
  pid: Type.Integer(),
  home: Type.String(),
  /** Of new apps. */
  link: Type.String(),
  /** Why it is not `tun`. */
  linkReason: Type.Optional(Type.String()),
  aead: Type.String(),
  /** Seconds since the daemon started. */
  uptime: Type.Number(),
  revision: Type.Integer(),
  /** The revision that the agent has made true. */
  applied: Type.Integer(),
  problems: Type.Array(Type.String()),
  hosts: Type.Array(HostStatus),
  networks: Type.Array(NetworkRecord),
  members: Type.Array(MemberRecord),
  instances: Type.Array(InstanceStatus),
  gateways: Type.Array(GatewayStatus),
  tunnels: Type.Array(TunnelStatus),
  stacks: Type.Optional(Type.Array(StackStatus)),
});
export type Status = Static<typeof Status>;

/** GET /v1/health: cheap, answers while everything else is still starting. */
export const HealthAnswer = Type.Object({
  version: Type.String(),
  apiVersion: Type.Integer(),
  registryId: Type.String(),
  pid: Type.Integer(),
});
export type HealthAnswer = Static<typeof HealthAnswer>;

/** POST /v1/networks/{network}/ping: one echo request from this machine's gateway to a name or address. */
export const PingRequest = Type.Object({
  to: Type.String({ minLength: 1, maxLength: 300 }),
  /** Milliseconds. */
  timeout: Type.Integer({ minimum: 1, maximum: 60_000 }),
});
export type PingRequest = Static<typeof PingRequest>;
export const PingAnswer = Type.Object({ address: Type.String(), milliseconds: Type.Number() });
export type PingAnswer = Static<typeof PingAnswer>;

/** POST /v1/instances/{id}/attempt: a TCP connection as the instance makes it, closed at once. */
export const AttemptRequest = Type.Object({
  address: Type.String(),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  /** Milliseconds. */
  timeout: Type.Integer({ minimum: 1, maximum: 60_000 }),
});
export type AttemptRequest = Static<typeof AttemptRequest>;
export const Attempt = Type.Object({ ok: Type.Boolean(), detail: Type.String() });
export type Attempt = Static<typeof Attempt>;

/** GET /v1/instances/{id}/entry: how a process of this machine enters an instance's namespaces (`warren exec`). */
export const Entry = Type.Object({
  /** argv to put before a command: nsenter …, setpriv …. */
  prefix: Type.Array(Type.String()),
  cwd: Type.String(),
  env: Tags,
});
export type Entry = Static<typeof Entry>;

/** POST /v1/networks/{network}/dns, and its answer, which has no `from`. */
export const DnsMessage = Type.Object({
  /** base64 of a message of RFC 1035. */
  message: Type.String({ maxLength: 90_000 }),
  /** Id of the member that asks: what is near depends on it. @default this machine */
  from: Type.Optional(Type.String()),
});
export type DnsMessage = Static<typeof DnsMessage>;

/** The body of every answer with a status of 400 and above. */
export const ErrorAnswer = Type.Object({
  error: Type.Object({ code: Type.String(), message: Type.String(), path: Type.Optional(Type.String()) }),
});
export type ErrorAnswer = Static<typeof ErrorAnswer>;
