import type * as pulumi from "@pulumi/pulumi";
import { CustomResource } from "@pulumi/pulumi";
import { existingProps, hasBrand, hiddenInputs, outputsOf, setBrand, typeToken, withSecrets } from "./resource";
import type { PolicyRule, PolicyRuleArgs } from "./rules";
import { declareNetwork } from "./verdict";

export interface NetworkArgs {
  /**
   * The network's name: a lower-case DNS label. A change replaces the network.
   * @default the resource's logical name
   */
  name?: pulumi.Input<string>;
  /**
   * The range of addresses, IPv4 or IPv6, in CIDR notation. It may grow in place while its first address stays; otherwise a
   * change replaces the network.
   * @default a free IPv4 /24, found by the network's name
   */
  cidr?: pulumi.Input<string>;
  /** An IPv6 range beside an IPv4 `cidr`: every member then has an address of each family. */
  ipv6Cidr?: pulumi.Input<string>;
  /** Addresses (`10.1.2.9`), ranges (`10.1.2.16/28`) or spans (`10.1.2.20-10.1.2.30`) that are never issued. @default [] */
  reserved?: pulumi.Input<pulumi.Input<string>[]>;
  /** The regions that members may be in; the first is the default of apps. @default any region */
  regions?: pulumi.Input<pulumi.Input<string>[]>;
  /** The domain of members' host names. @default "internal" */
  domain?: pulumi.Input<string>;
  /** Bytes of the largest packet inside the network. @default 1420 */
  mtu?: pulumi.Input<number>;
  /**
   * Who may start a connection to whom; answers always pass. Whoever a rule names in `to` is closed to all whom no rule lets in; who
   * is named in none is open to all members.
   * @default all members may talk to each other
   */
  policy?: pulumi.Input<pulumi.Input<PolicyRuleArgs>[]>;
  /** Any change gives the network's gateways new keys. */
  keepers?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** Labels for people and other programs; they change nothing. @default {} */
  tags?: pulumi.Input<Record<string, pulumi.Input<string>>>;
}

/** A network's address space, as its members see it. */
export interface NetworkSpace {
  readonly name: string;
  readonly cidr?: string;
  readonly ipv6Cidr?: string;
  readonly reserved: string[];
  readonly regions: string[];
  readonly domain: string;
  /** Bytes. */
  readonly mtu: number;
  readonly keepers?: Record<string, string>;
}

export const NETWORK_OUTPUTS = [
  "name",
  "cidr",
  "ipv6Cidr",
  "reserved",
  "regions",
  "domain",
  "mtu",
  "policy",
  "keepers",
  "tags",
  "space",
  "networkId",
  "gatewayIp",
  "dnsIp",
  "seed",
  "registryId",
] as const;

/** A flat private address space with its own keys and names; networks are isolated, so two may use equal ranges. */
export class Network extends CustomResource {
  declare readonly name: pulumi.Output<string>;
  declare readonly cidr: pulumi.Output<string>;
  declare readonly ipv6Cidr: pulumi.Output<string | undefined>;
  declare readonly reserved: pulumi.Output<string[]>;
  declare readonly regions: pulumi.Output<string[]>;
  declare readonly domain: pulumi.Output<string>;
  /** Bytes. */
  declare readonly mtu: pulumi.Output<number>;
  /** The rules in full. */
  declare readonly policy: pulumi.Output<PolicyRule[] | undefined>;
  declare readonly keepers: pulumi.Output<Record<string, string> | undefined>;
  declare readonly tags: pulumi.Output<Record<string, string>>;
  /** The address space as members see it. */
  declare readonly space: pulumi.Output<NetworkSpace>;
  declare readonly networkId: pulumi.Output<string>;
  /** The address that answers on every host as the network's gateway. */
  declare readonly gatewayIp: pulumi.Output<string>;
  /** The address of the network's DNS server. */
  declare readonly dnsIp: pulumi.Output<string>;
  /** Secret, base64: the gateways' keys derive from it. With it the network can be rebuilt as it was. */
  declare readonly seed: pulumi.Output<string | undefined>;
  /** The registry that holds the network. */
  declare readonly registryId: pulumi.Output<string>;

  constructor(name: string, args: NetworkArgs = {}, opts?: pulumi.CustomResourceOptions) {
    super(typeToken("Network"), name, networkProps(name, args, opts), withSecrets(opts, ["seed"]));
    setBrand(this, "Network");
    if (opts?.id === undefined) declareNetwork(this, name, args);
  }

  /** A network that another stack declares, by its name or id. Its seed stays with that stack. */
  static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Network {
    return new Network(name, {}, { ...opts, id });
  }

  /** True for networks of any loaded copy of this package. */
  static override isInstance(value: unknown): value is Network {
    return hasBrand(value, "Network");
  }
}

function networkProps(name: string, args: NetworkArgs, opts: pulumi.CustomResourceOptions | undefined): pulumi.Inputs {
  if (opts?.id !== undefined) return existingProps("Network", NETWORK_OUTPUTS);
  return { ...outputsOf(NETWORK_OUTPUTS), ...args, name: args.name ?? name, ...hiddenInputs("Network", name, opts) };
}
