/** The rules of a network's policy and of an app's `allow`: as a program writes them, and as outputs have them. */
import type * as pulumi from "@pulumi/pulumi";

export interface AllowRuleArgs {
  /**
   * Who may start: `*`, `NAME`, `app:NAME`, `peer:NAME`, `region:CODE`, `tag:KEY` or `tag:KEY=VALUE`, one or several. A peer stands
   * for what lies behind it too.
   */
  from: pulumi.Input<string> | pulumi.Input<pulumi.Input<string>[]>;
  /** `icmp` is ICMPv6 too. @default "tcp" with ports, else "any" */
  protocol?: pulumi.Input<"any" | "tcp" | "udp" | "icmp">;
  /** A port, a span such as `"9000-9010"`, or several. @default all */
  ports?: pulumi.Input<number | string> | pulumi.Input<pulumi.Input<number | string>[]>;
}

export interface PolicyRuleArgs extends AllowRuleArgs {
  /** To whom: selectors, as `from`. */
  to: pulumi.Input<string> | pulumi.Input<pulumi.Input<string>[]>;
}

export interface AllowRule {
  readonly from: string[];
  readonly protocol: "any" | "tcp" | "udp" | "icmp";
  /** First and last of each span; empty: all. */
  readonly ports: [number, number][];
}

export interface PolicyRule extends AllowRule {
  readonly to: string[];
}
