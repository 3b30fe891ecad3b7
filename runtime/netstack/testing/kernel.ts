/** A namespace whose only way out is a TUN device that a stack of this process answers. */
import { Namespace } from "../../../test/support/namespace";
import type { Scratch } from "../../../test/support/scratch";
import type { PacketPipe } from "../../dataplane/pipe";
import type { StackOptions } from "../options";
import { StackRunner } from "../runner";
import { TunPipe } from "./tun-pipe";

export const KERNEL = { 4: "10.77.0.1", 6: "fd77::1" } as const;
export const OURS = { 4: "10.77.0.2", 6: "fd77::2" } as const;

export interface KernelOptions {
  readonly mtu?: number;
  /** The device hands over and takes segments of 64 KiB. @default true */
  readonly vnetHeader?: boolean;
  /** What lies between stack and device. */
  readonly between?: (pipe: PacketPipe) => PacketPipe;
  readonly stack?: Partial<StackOptions>;
}

export class KernelPeer {
  private constructor(
    readonly namespace: Namespace,
    readonly runner: StackRunner,
    readonly pipe: TunPipe,
  ) {}

  get stack(): StackRunner["stack"] {
    return this.runner.stack;
  }

  static async create(scratch: Scratch, label: string, options: KernelOptions = {}): Promise<KernelPeer> {
    const { mtu = 1420, vnetHeader = true } = options;
    const namespace = await Namespace.create(scratch, label);
    await namespace.run([
      "sysctl",
      "-q",
      "-w",
      "net.ipv6.conf.default.accept_ra=0",
      "net.ipv6.conf.all.disable_ipv6=0",
    ]);
    const pipe = new TunPipe("tun0", `/run/netns/${namespace.name}`, vnetHeader);
    scratch.defer(() => pipe.close());
    // Below 1280 bytes the device has no IPv6 at all.
    const quiet = mtu >= 1280 ? ["addrgenmode", "none"] : [];
    await namespace.ip("link", "set", "tun0", "mtu", String(mtu), ...quiet, "up");
    await namespace.addAddress("tun0", `${KERNEL[4]}/24`);
    if (mtu >= 1280) await namespace.addAddress("tun0", `${KERNEL[6]}/64`);
    const runner = new StackRunner({
      pipe: options.between === undefined ? pipe : options.between(pipe),
      addresses: mtu >= 1280 ? [OURS[4], OURS[6]] : [OURS[4]],
      mtu,
      segments: vnetHeader,
      ...options.stack,
    });
    scratch.defer(() => runner.close());
    return new KernelPeer(namespace, runner, pipe);
  }
}
