/** One sandbox: namespaces, TUN device and name-service files, held by descriptors so that no process needs to live in it. */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { WarrenError } from "../errors";
import { AF_INET6, family, libc, systemError } from "../native/libc";
import * as rtnetlink from "../native/rtnetlink";
import type { AppSandbox } from "./app-sandbox";
import { explainSetupFailure } from "./capabilities";
import { etcFiles } from "./etc";
import { isPrivileged } from "./privilege";
import { Prober } from "./probe";
import type { SandboxSpec } from "./protocol";
import { requireSandboxId } from "./sandbox-id";
import { ADDRESSES_V6, DESCRIPTORS, type Descriptors, type SetupAnswer, type SetupOrder } from "./setup-protocol";
import { processesIn, withoutGuests } from "./strays";
import { tool } from "./tools";

const DEVICE = "wr0";
const LOOPBACK_INDEX = 1;
/** Milliseconds; a loaded machine may take seconds to start Node. */
const SETUP_TIMEOUT = 30_000;

type Hidden = Pick<SetupOrder, "privateFolders" | "privateNames" | "readOnlyNames">;

/** argv before a command that makes new namespaces of the kind sandboxes have. */
export function unshareCommand(privileged: boolean): string[] {
  return [tool("unshare"), "--net", "--mount", ...(privileged ? [] : ["--user", "--map-current-user", "--keep-caps"])];
}

export class Sandbox implements AppSandbox {
  readonly link = "tun";
  readonly environment = {};
  readonly prober = new Prober((address) => this.probeSocket(address));
  private sequence = 0;

  private constructor(
    public spec: SandboxSpec,
    readonly mark: string,
    readonly descriptors: Descriptors,
    private readonly index: number,
    private hasV6: boolean,
    readonly privileged: boolean,
  ) {}

  /**
   * @param owner a text without spaces that tells this keeper's sandboxes from those of others; part of the mark.
   * @param hidden what apps must not see.
   * @throws WarrenError WARREN_LINK_UNAVAILABLE saying what this machine lacks.
   */
  static async create(spec: SandboxSpec, owner: string, hidden: Hidden): Promise<Sandbox> {
    requireSandboxId(spec.id);
    const privileged = isPrivileged();
    const c = libc();
    const mark = `${owner}/${spec.id}`;
    const vnetHeader = spec.vnetHeader ?? false;
    const order: SetupOrder = { mark, device: DEVICE, vnetHeader, files: filesOf(spec), ...hidden };
    const [ours, theirs] = c.socketpair();
    try {
      try {
        await runSetup(order, theirs, privileged);
      } finally {
        c.close(theirs);
      }
      const { data, descriptors } = c.receiveDescriptors(ours, 4096, false);
      if (descriptors.length !== DESCRIPTORS.length) throw systemError("recvmsg", os.constants.errno.EPROTO);
      const answer = JSON.parse(data.toString()) as SetupAnswer;
      const named = Object.fromEntries(DESCRIPTORS.map((name, i) => [name, descriptors[i]])) as Descriptors;
      const hasV6 = (answer.flags & ADDRESSES_V6) !== 0;
      const sandbox = new Sandbox({ ...spec, addresses: [], routes: [] }, mark, named, answer.index, hasV6, privileged);
      try {
        sandbox.request(rtnetlink.linkUp(LOOPBACK_INDEX));
        if (hasV6) sandbox.request(rtnetlink.noLinkLocal(answer.index));
        sandbox.update(spec);
        return sandbox;
      } catch (error) {
        sandbox.close();
        throw error;
      }
    } finally {
      c.close(ours);
    }
  }

  /** Changes MTU, addresses, routes and names in place. Idempotent; what failed half-way is done by the next call. */
  update(spec: SandboxSpec): void {
    if (!this.hasV6) requireV4(spec);
    const usable = (range: string) => this.hasV6 || net.isIPv4(range.split("/")[0]);
    const source = (range: string, of: SandboxSpec) =>
      of.addresses.find((address) => family(address) === family(range.split("/")[0]));
    const routesOf = (of: SandboxSpec) => of.routes.filter((range) => usable(range) && source(range, of) !== undefined);
    this.request(rtnetlink.linkUp(this.index, spec.mtu));
    for (const address of spec.addresses.filter(usable)) this.addAddress(address, spec);
    for (const range of routesOf(spec)) this.request(rtnetlink.route("add", this.index, range, source(range, spec)));
    for (const range of routesOf(this.spec))
      if (!spec.routes.includes(range)) this.request(rtnetlink.route("remove", this.index, range), true);
    for (const address of this.spec.addresses.filter(usable))
      if (!spec.addresses.includes(address)) this.request(rtnetlink.address("remove", this.index, address), true);
    for (const [name, text] of Object.entries(filesOf(spec)))
      fs.writeFileSync(`/proc/self/fd/${this.descriptors.etc}/${name}`, text);
    this.spec = { ...spec, vnetHeader: this.spec.vnetHeader };
  }

  /** argv before a command that shall run inside; of use to any process of this user while the keeper lives. */
  enter(): string[] {
    const file = (name: "net" | "mnt" | "user") => `/proc/${process.pid}/fd/${this.descriptors[name]}`;
    return [
      tool("nsenter"),
      ...(this.privileged ? [] : [`--user=${file("user")}`, "--preserve-credentials"]),
      `--net=${file("net")}`,
      `--mount=${file("mnt")}`,
    ];
  }

  /** The socket in the namespace for probes of this address. */
  probeSocket(address: string): number {
    return family(address) === AF_INET6 ? this.descriptors.probe6 : this.descriptors.probe4;
  }

  processes(): number[] {
    return processesIn({ mark: this.mark, net: this.inodes().net });
  }

  /** Those of commands that came in from outside (`warren exec`) are none. */
  offspring(): number[] {
    return withoutGuests(this.processes());
  }

  /** Inode numbers of its namespaces, as `/proc/PID/ns` shows them. */
  inodes(): { net: number; mnt: number } {
    return { net: fs.fstatSync(this.descriptors.net).ino, mnt: fs.fstatSync(this.descriptors.mnt).ino };
  }

  /** Lets go of everything; the kernel removes the namespaces when no process and no copy of a descriptor is left. */
  close(): void {
    for (const name of DESCRIPTORS) libc().close(this.descriptors[name]);
  }

  private addAddress(address: string, spec: SandboxSpec): void {
    try {
      this.request(rtnetlink.address("add", this.index, address));
    } catch (error) {
      // The kernel has IPv6, but new namespaces have it disabled and /proc/sys is read-only.
      if (!net.isIPv6(address) || (error as NodeJS.ErrnoException).code !== "EACCES") throw error;
      this.hasV6 = false;
      requireV4(spec);
    }
  }

  private request(make: rtnetlink.Request, goneIsFine = false): void {
    const c = libc();
    const sequence = ++this.sequence;
    const bytes = make(sequence);
    c.send(this.descriptors.netlink, bytes);
    // The kernel answers within the send, so this does not wait.
    const errno = rtnetlink.acknowledgement(c.receive(this.descriptors.netlink, 8192) ?? Buffer.alloc(0), sequence);
    const { ENOENT, ESRCH, EADDRNOTAVAIL, EPROTO } = os.constants.errno as Record<string, number>;
    if (errno === 0 || (goneIsFine && [ENOENT, ESRCH, EADDRNOTAVAIL].includes(errno ?? EPROTO))) return;
    throw systemError(`rtnetlink request ${bytes.readUInt16LE(4)}`, errno ?? EPROTO);
  }
}

/** An app with addresses of both families does without IPv6 where the machine has none. */
function requireV4(spec: SandboxSpec): void {
  if (spec.addresses.length === 0 || spec.addresses.some(net.isIPv4)) return;
  throw new WarrenError(
    "WARREN_LINK_UNAVAILABLE",
    `This machine has IPv6 turned off, and ${spec.id} has only IPv6 addresses: boot without ipv6.disable=1 and set sysctl net.ipv6.conf.default.disable_ipv6=0, or give the network an IPv4 range.`,
  );
}

function filesOf(spec: SandboxSpec) {
  let hostNsswitch = "";
  try {
    hostNsswitch = fs.readFileSync("/etc/nsswitch.conf", "utf8");
  } catch {
    // A host without one (musl) needs none inside either.
  }
  return etcFiles(spec, hostNsswitch, os.hostname());
}

/** Runs the set-up program to its end. */
async function runSetup(order: SetupOrder, socket: number, privileged: boolean): Promise<void> {
  const program = path.join(__dirname, "sandbox-setup.js");
  const [file, ...args] = [...unshareCommand(privileged), process.execPath, program];
  const child: ChildProcess = spawn(file, args, { cwd: "/", env: {}, stdio: ["pipe", "ignore", "pipe", socket] });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-2000);
  });
  // Where unshare itself fails nobody reads the order.
  child.stdin!.on("error", () => {});
  child.stdin!.end(JSON.stringify(order));
  const timer = setTimeout(() => child.kill("SIGKILL"), SETUP_TIMEOUT);
  const ended = await new Promise<{ code: number | null; error?: Error }>((resolve) => {
    child.on("error", (error) => resolve({ code: null, error }));
    child.on("close", (code) => resolve({ code }));
  });
  clearTimeout(timer);
  if (ended.code === 0) return;
  throw explainSetupFailure(ended.error?.message ?? (said.trim() || "it was ended from outside"), privileged);
}
