import * as pulumi from "@pulumi/pulumi";
import * as warren from "pulumi-warren";

const stack = pulumi.getStack();
const platform = new pulumi.StackReference(`${pulumi.getOrganization()}/two-stacks-platform/${stack}`);

// The network belongs to the other stack; the app that joins it belongs to this one.
const network = warren.Network.get("shared", platform.requireOutput("networkId"));

const reader = new warren.App("reader", {
  network,
  command: [process.execPath, "reader.js"],
  env: { CLOCK_URL: platform.requireOutput("clockUrl").apply(String) },
});

export const readerIp = reader.privateIp;
export const readerUrl = reader.url;
