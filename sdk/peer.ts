import type * as pulumi from "@pulumi/pulumi";
import { CustomResource } from "@pulumi/pulumi";
import { type MemberAddress, memberInputs } from "./member";
import type { Network } from "./network";
import { existingProps, hasBrand, hiddenInputs, outputsOf, setBrand, typeToken, withSecrets } from "./resource";
import { declareMember } from "./verdict";

export interface PeerArgs {
  /**
   * The peer's name in its network: a lower-case DNS label. A change replaces the peer.
   * @default the resource's logical name
   */
  name?: pulumi.Input<string>;
  /** The network that it joins: a Network, or a network's name or id. A change replaces the peer. */
  network: pulumi.Input<Network | string>;
  /** The region whose gateway it uses. @default the network's first region, else `local` */
  region?: pulumi.Input<string>;
  /**
   * Where the peer reaches that gateway: `host` or `host:port`.
   * @default what `warren:endpoint` says, else loopback: then only peers on this machine get through
   */
  endpoint?: pulumi.Input<string>;
  /** Its address in the network. @default the lowest free one */
  ip?: pulumi.Input<string>;
  /** Its own WireGuard public key (base64). Then no private key exists here, and `config` has a comment in its place. */
  publicKey?: pulumi.Input<string>;
  /** A pre-shared key beside the key pair: `true` makes one, a string (base64, 32 bytes) is used as it is. @default none */
  presharedKey?: pulumi.Input<boolean | string>;
  /**
   * Whether `config` names the network's DNS server: not at all, for the network's domain only (for wg-quick on Linux, with commands
   * that other clients refuse), or for everything. Stock wg-quick fails on such a line where resolvconf is missing.
   * @default "off"
   */
  dns?: pulumi.Input<"off" | "split" | "all">;
  /** Ranges behind the peer, which the network then reaches through it. @default [] */
  routes?: pulumi.Input<pulumi.Input<string>[]>;
  /** Seconds between keepalives, which hold a NAT's mapping open; 0 turns them off. @default 25 */
  persistentKeepalive?: pulumi.Input<number>;
  /** The time (RFC 3339) past which the network no longer knows the peer. @default never */
  expiresAt?: pulumi.Input<string>;
  /** Any change gives the peer new keys. */
  keepers?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** Labels for people and other programs; they change nothing. @default {} */
  tags?: pulumi.Input<Record<string, pulumi.Input<string>>>;
}

export const PEER_OUTPUTS = [
  "name",
  "network",
  "networkId",
  "region",
  "endpoint",
  "dns",
  "routes",
  "persistentKeepalive",
  "expiresAt",
  "keepers",
  "tags",
  "addresses",
  "privateIp",
  "publicKey",
  "privateKey",
  "presharedKey",
  "config",
  "registryId",
] as const;

/** A stock WireGuard client that joins a network: a laptop, a phone, a server elsewhere. */
export class Peer extends CustomResource {
  declare readonly name: pulumi.Output<string>;
  /** The name (or what `network` was given as) of its network. */
  declare readonly network: pulumi.Output<string>;
  declare readonly networkId: pulumi.Output<string>;
  declare readonly region: pulumi.Output<string | undefined>;
  declare readonly endpoint: pulumi.Output<string | undefined>;
  declare readonly dns: pulumi.Output<"off" | "split" | "all">;
  declare readonly routes: pulumi.Output<string[]>;
  /** Seconds. */
  declare readonly persistentKeepalive: pulumi.Output<number>;
  declare readonly expiresAt: pulumi.Output<string | undefined>;
  declare readonly keepers: pulumi.Output<Record<string, string> | undefined>;
  declare readonly tags: pulumi.Output<Record<string, string>>;
  declare readonly addresses: pulumi.Output<MemberAddress[]>;
  /** Its address in the network; IPv4 where there is one. */
  declare readonly privateIp: pulumi.Output<string>;
  /** base64. */
  declare readonly publicKey: pulumi.Output<string>;
  /** Secret, base64. Without a value for a peer with its own key. */
  declare readonly privateKey: pulumi.Output<string | undefined>;
  /** Secret, base64. */
  declare readonly presharedKey: pulumi.Output<string | undefined>;
  /** Secret: the text of a wg-quick file. */
  declare readonly config: pulumi.Output<string>;
  /** The registry that holds the peer. */
  declare readonly registryId: pulumi.Output<string>;

  constructor(name: string, args: PeerArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      typeToken("Peer"),
      name,
      peerProps(name, args, opts),
      withSecrets(opts, ["privateKey", "presharedKey", "config"]),
    );
    setBrand(this, "Peer");
    if (opts?.id === undefined) declareMember(this, "peer", name, args);
  }

  /** A peer that another stack declares, by its name (or NETWORK/NAME) or id. Never its keys or config. */
  static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Peer {
    return new Peer(name, {} as PeerArgs, { ...opts, id });
  }

  /** True for peers of any loaded copy of this package. */
  static override isInstance(value: unknown): value is Peer {
    return hasBrand(value, "Peer");
  }
}

function peerProps(name: string, args: PeerArgs, opts: pulumi.CustomResourceOptions | undefined): pulumi.Inputs {
  if (opts?.id !== undefined) return existingProps("Peer", PEER_OUTPUTS);
  const label = args.name ?? name;
  return {
    ...outputsOf(PEER_OUTPUTS),
    ...args,
    name: label,
    ...memberInputs(args.network, { name: label, kind: "peer", region: args.region, ip: args.ip }),
    ...hiddenInputs("Peer", name, opts),
  };
}
