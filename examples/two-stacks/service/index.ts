import * as pulumi from "@pulumi/pulumi";
import * as warren from "pulumi-warren";

const stack = pulumi.getStack();
const platform = new pulumi.StackReference(`${pulumi.getOrganization()}/two-stacks-platform/${stack}`);

// The network belongs to the other stack; this app joins it by its name and belongs to this stack.
const reader = new warren.App("reader", {
  network: platform.requireOutput("networkName").apply(String),
  command: [process.execPath, "reader.js"],
  env: { CLOCK_URL: platform.requireOutput("clockUrl").apply(String) },
});

export const readerIp = reader.privateIp;
export const readerUrl = reader.url;
