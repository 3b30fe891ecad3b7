import * as warren from "pulumi-warren";

const network = new warren.Network("club", { cidr: "10.40.0.0/24" });

// A program that joins by itself is a peer like any other: this is the key it joins with.
const script = new warren.Peer("script", { network });

const api = new warren.App("api", {
  network,
  command: [process.execPath, "api.js"],
});

export const apiHost = api.hostname;
export const scriptIp = script.privateIp;
export const scriptConfig = script.config;
