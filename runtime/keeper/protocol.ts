/**
 * The keeper's protocol, version 1: one JSON object a line over `keeper.sock` (mode 0600), requests `{id, method, params}`,
 * answers `{id, result}` or `{id, error: {code, message}}`, events `{event, ...}` to connections that sent `subscribe`.
 * A descriptor is fetched on a connection of its own: the line `{"fd":"SANDBOX"}` is answered with one byte and SCM_RIGHTS.
 * The keeper outlives daemons of other versions: a method is never changed, only added.
 */
export const KEEPER_VERSION = 1;

/** How an app is plugged into its network. */
export type LinkKind = "tun" | "userspace";

/** Where an app on the link `userspace` meets its network, all on this machine's loopback. It stays the same for the sandbox's life. */
export interface LoopbackSpec {
  /** The port that the app shall listen on; 0: it listens on none. */
  readonly port: number;
  /** The port of its way out: SOCKS5 and HTTP proxy. */
  readonly proxy: number;
  /** The proxy's password. */
  readonly secret: string;
}

/**
 * Link `tun`: an app's own network and mount namespace (and user namespace where the keeper has no privileges) with a TUN device in it.
 * Link `userspace`: no more than a name for processes that run on the machine as they are.
 */
export interface SandboxSpec {
  readonly id: string;
  /** Fixed for the sandbox's life. @default "tun" */
  readonly link?: LinkKind;
  /** Of the link `userspace`: kept here for daemons to come, whose apps go on meanwhile. */
  readonly loopback?: LoopbackSpec;
  /** `10.1.2.4`, `fd00::4`: added with full prefix length. */
  readonly addresses: readonly string[];
  /** Ranges routed into the device: the network's and its routes. */
  readonly routes: readonly string[];
  readonly mtu: number;
  /** For its resolv.conf. */
  readonly nameservers: readonly string[];
  readonly searchDomain: string;
  /** For its /etc/hosts: lines of `address name…`. */
  readonly hosts: readonly string[];
  /** The device carries a virtio-net header before each packet (IFF_VNET_HDR); fixed for the sandbox's life. @default false */
  readonly vnetHeader?: boolean;
}

export interface ProcessSpec {
  readonly sandbox: string;
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Account to run as; only a root keeper may name one that is not its own. */
  readonly user: string;
  readonly restart: "always" | "on-failure" | "never";
  /** The log file; rotated at `logBytes` to `.1`, `.2`. */
  readonly log: string;
  readonly logBytes: number;
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly stopTimeout: number;
  /** Changes when anything above that needs a restart changes. */
  readonly hash: string;
}

export interface ProcessState {
  /** `starting` before the first second is over, `running`, `backoff` (waits for its restart), `exited` (will not be restarted), `failed` (could not be started). */
  readonly state: "starting" | "running" | "backoff" | "exited" | "failed";
  readonly pid?: number;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly restarts: number;
  /** `exit code 3`, `signal SIGKILL`, `spawn ENOENT: …`. */
  readonly lastExit?: string;
  /** The last lines of output of the run that ended, for error messages. */
  readonly tail?: string;
}

export interface SandboxState {
  readonly spec: SandboxSpec;
  /** `tun`: the descriptor can be fetched. */
  readonly link: LinkKind;
  /** argv before a command that shall run inside (nsenter …); of use to any process of the same user on this machine. */
  readonly enter: readonly string[];
  /** Of the link `userspace`: by this text in their environment its processes are known (see `processes.ts`). */
  readonly mark?: string;
  readonly process?: ProcessState & { readonly spec: ProcessSpec };
}

/** How the keeper brings a daemon back that went without saying `goodbye`. */
export interface Supervise {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: string;
}

export interface Probe {
  readonly sandbox: string;
  readonly type: "tcp" | "http";
  readonly address: string;
  readonly port: number;
  readonly path?: string;
  /** Milliseconds. */
  readonly timeout: number;
}

export interface KeeperMethods {
  hello(params: { version: string }): { version: string; protocol: number; pid: number; uid: number };
  /** Events follow on this connection: `{event: "process", sandbox, state: ProcessState}`. */
  subscribe(params: Record<string, never>): Record<string, never>;
  list(params: Record<string, never>): { sandboxes: SandboxState[] };
  /** Creates the sandbox, or changes routes, MTU, addresses and names of a present one in place. */
  ensureSandbox(params: SandboxSpec): SandboxState;
  /** Stops its process too. Done when nothing is left. */
  removeSandbox(params: { id: string }): Record<string, never>;
  /** Starts the process, or replaces one whose hash differs. */
  start(params: ProcessSpec): ProcessState;
  stop(params: { sandbox: string }): Record<string, never>;
  probe(params: Probe): { ok: boolean; detail: string };
  /** From now on a lost connection of this daemon without `goodbye` makes the keeper start it again. */
  supervise(params: Supervise): Record<string, never>;
  /** The daemon goes on purpose. `stop`: all sandboxes are removed and the keeper ends. */
  goodbye(params: { apps: "keep" | "stop" }): Record<string, never>;
}
