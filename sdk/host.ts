import type * as pulumi from "@pulumi/pulumi";
import { CustomResource } from "@pulumi/pulumi";
import { hasBrand, hiddenInputs, outputsOf, setBrand, typeToken, withSecrets } from "./resource";

export interface HostArgs {
  /** @default the resource's logical name */
  name?: pulumi.Input<string>;
  /** The region that it belongs to. */
  region: pulumi.Input<string>;
  /** Its public `host:port`. */
  endpoint?: pulumi.Input<string>;
  labels?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** @default {} */
  tags?: pulumi.Input<Record<string, pulumi.Input<string>>>;
}

export const HOST_OUTPUTS = ["name", "region", "endpoint", "labels", "tags", "joinToken", "cloudInit"] as const;

/** Another machine where apps run. Not supported yet: its check refuses it, with the reason. */
export class Host extends CustomResource {
  declare readonly name: pulumi.Output<string>;
  declare readonly region: pulumi.Output<string>;
  declare readonly endpoint: pulumi.Output<string | undefined>;
  declare readonly labels: pulumi.Output<Record<string, string> | undefined>;
  declare readonly tags: pulumi.Output<Record<string, string>>;
  /** Secret. */
  declare readonly joinToken: pulumi.Output<string>;
  /** Secret: user data for any cloud's instance. */
  declare readonly cloudInit: pulumi.Output<string>;

  constructor(name: string, args: HostArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      typeToken("Host"),
      name,
      { ...outputsOf(HOST_OUTPUTS), ...args, name: args.name ?? name, ...hiddenInputs("Host", name, opts) },
      withSecrets(opts, ["joinToken", "cloudInit"]),
    );
    setBrand(this, "Host");
  }

  /** True for hosts of any loaded copy of this package. */
  static override isInstance(value: unknown): value is Host {
    return hasBrand(value, "Host");
  }
}
