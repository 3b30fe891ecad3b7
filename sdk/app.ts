import type * as pulumi from "@pulumi/pulumi";
import { CustomResource } from "@pulumi/pulumi";
import { type MemberAddress, memberInputs } from "./member";
import type { Network } from "./network";
import { existingProps, hasBrand, hiddenInputs, outputsOf, setBrand, typeToken } from "./resource";
import type { AllowRule, AllowRuleArgs } from "./rules";
import { declareMember } from "./verdict";

/** How Warren finds out whether an instance works. */
export interface HealthArgs {
  /** @default "http" with a path, else "tcp", else (port 0) "none" */
  type?: pulumi.Input<"tcp" | "http" | "none">;
  /** @default the app's port */
  port?: pulumi.Input<number>;
  /** For `http`: an answer below 400 is healthy. @default "/" */
  path?: pulumi.Input<string>;
  /** Seconds from one probe to the next. @default 5 */
  interval?: pulumi.Input<number>;
  /** Seconds until a probe has failed. @default 2 */
  timeout?: pulumi.Input<number>;
  /** Failures in a row that make a healthy instance unhealthy. @default 3 */
  threshold?: pulumi.Input<number>;
}

export interface AppArgs {
  /**
   * The app's name in its network: a lower-case DNS label. A change replaces the app.
   * @default the resource's logical name
   */
  name?: pulumi.Input<string>;
  /** The network that it lives in: a Network, or a network's name or id. A change replaces the app. */
  network: pulumi.Input<Network | string>;
  /** Where it runs; instead of `regions`. A change moves it and keeps its address. @default the network's first, else "local" */
  region?: pulumi.Input<string>;
  /** Where it runs, with `instances` in each. */
  regions?: pulumi.Input<pulumi.Input<string>[]>;
  /** Instances in each region, each with an address of its own. @default 1 */
  instances?: pulumi.Input<number>;
  /** The port that it listens on, and finds in `PORT`; 0: none. @default 8080 */
  port?: pulumi.Input<number>;
  /** Program and arguments. Needed unless there is an `upstream`. */
  command?: pulumi.Input<pulumi.Input<string>[]>;
  /** A folder that is delivered to where the app runs; its content is an input, so changed code is a change. */
  source?: pulumi.Input<string>;
  /** Its working folder, relative to `source`, else to the program. @default the source, else the program's folder */
  cwd?: pulumi.Input<string>;
  /** A change of any of these restarts the app. @default [] */
  triggers?: pulumi.Input<pulumi.Input<unknown>[]>;
  /** The account that it runs as. @default an unprivileged one where the daemon is root, else the daemon's */
  user?: pulumi.Input<string>;
  /** Its environment, beside PATH, HOME, LANG and what Warren sets (PORT, FLY_…, WARREN_…). @default {} */
  env?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** Not supported yet: refused. Limits on memory and processors. */
  limits?: pulumi.Input<unknown>;
  /** `host:port` of something that runs already; instead of `command`. */
  upstream?: pulumi.Input<string>;
  /** The address of its first instance. @default the lowest free one */
  ip?: pulumi.Input<string>;
  /**
   * Who may connect: names or rules, as in the network's `policy` with this app as the target. Everybody else may not; with an empty
   * list nobody may.
   * @default everyone that the network's policy lets
   */
  allow?: pulumi.Input<pulumi.Input<string | AllowRuleArgs>[]>;
  /** How to find out whether it works. @default a TCP connection to its port */
  health?: pulumi.Input<"tcp" | "http" | "none" | HealthArgs>;
  /** What happens when it ends. @default "always" */
  restart?: pulumi.Input<"always" | "on-failure" | "never">;
  /** Whether it reaches what lies outside its network: the internet, but not the host's own private networks. @default true */
  egress?: pulumi.Input<boolean>;
  /**
   * On the link `userspace`, where the app listens on the machine itself: an instance that listens beyond loopback is stopped.
   * @default false
   */
  requireLoopback?: pulumi.Input<boolean>;
  /** Labels for people and other programs; they change nothing. @default {} */
  tags?: pulumi.Input<Record<string, pulumi.Input<string>>>;
}

export const APP_OUTPUTS = [
  "name",
  "network",
  "networkId",
  "regions",
  "instances",
  "port",
  "upstream",
  "sourceHash",
  "tags",
  "addresses",
  "privateIp",
  "privateIps",
  "service",
  "serviceIp",
  "allow",
  "egress",
  "requireLoopback",
  "hostname",
  "url",
  "registryId",
] as const;

/** A program that lives in a network, and knows nothing of it. */
export class App extends CustomResource {
  declare readonly name: pulumi.Output<string>;
  /** The name (or what `network` was given as) of its network. */
  declare readonly network: pulumi.Output<string>;
  declare readonly networkId: pulumi.Output<string>;
  declare readonly regions: pulumi.Output<string[]>;
  declare readonly instances: pulumi.Output<number>;
  declare readonly port: pulumi.Output<number>;
  declare readonly upstream: pulumi.Output<string | undefined>;
  /** sha256 of the delivered `source`. */
  declare readonly sourceHash: pulumi.Output<string | undefined>;
  declare readonly tags: pulumi.Output<Record<string, string>>;
  declare readonly addresses: pulumi.Output<MemberAddress[]>;
  /** The address of its first instance; IPv4 where there is one. */
  declare readonly privateIp: pulumi.Output<string>;
  /** The addresses of all instances, region by region. */
  declare readonly privateIps: pulumi.Output<string[]>;
  /** Its service address of each family. */
  declare readonly service: pulumi.Output<MemberAddress>;
  /**
   * One address for all instances: connections to it go to the nearest healthy ones. IPv4 where there is one. Without a
   * value only in a network of an older registry that was full already.
   */
  declare readonly serviceIp: pulumi.Output<string>;
  /** Who may connect, in full. */
  declare readonly allow: pulumi.Output<AllowRule[] | undefined>;
  declare readonly egress: pulumi.Output<boolean | undefined>;
  declare readonly requireLoopback: pulumi.Output<boolean | undefined>;
  /** `NAME.internal` */
  declare readonly hostname: pulumi.Output<string>;
  /** `http://NAME.internal:PORT`; without a value where the port is 0. */
  declare readonly url: pulumi.Output<string | undefined>;
  /** The registry that holds the app. */
  declare readonly registryId: pulumi.Output<string>;

  constructor(name: string, args: AppArgs, opts?: pulumi.CustomResourceOptions) {
    super(typeToken("App"), name, appProps(name, args, opts), opts);
    setBrand(this, "App");
    if (opts?.id === undefined) declareMember(this, "app", name, args);
  }

  /** An app that another stack declares, by its name (or NETWORK/NAME) or id. */
  static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): App {
    return new App(name, {} as AppArgs, { ...opts, id });
  }

  /** True for apps of any loaded copy of this package. */
  static override isInstance(value: unknown): value is App {
    return hasBrand(value, "App");
  }
}

function appProps(name: string, args: AppArgs, opts: pulumi.CustomResourceOptions | undefined): pulumi.Inputs {
  if (opts?.id !== undefined) return existingProps("App", APP_OUTPUTS);
  const label = args.name ?? name;
  const { region, regions, instances, ip } = args;
  return {
    ...outputsOf(APP_OUTPUTS),
    ...args,
    name: label,
    ...memberInputs(args.network, { name: label, kind: "app", region, regions, instances, ip }),
    ...hiddenInputs("App", name, opts),
  };
}
