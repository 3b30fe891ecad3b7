import * as warren from "pulumi-warren";

const network = new warren.Network("shared", { cidr: "10.20.0.0/16" });

const clock = new warren.App("clock", {
  network,
  command: [process.execPath, "clock.js"],
});

export const networkId = network.id;
export const clockUrl = clock.url;
