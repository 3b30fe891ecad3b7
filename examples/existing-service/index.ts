import * as pulumi from "@pulumi/pulumi";
import * as warren from "pulumi-warren";

const config = new pulumi.Config();

const network = new warren.Network("legacy", { cidr: "10.30.0.0/24" });

// Warren does not run this one: it gives what listens on that port an address and a name inside the network.
const database = new warren.App("database", {
  network,
  upstream: config.get("upstream") ?? "127.0.0.1:5432",
  port: 5432,
});

const client = new warren.App("client", {
  network,
  command: [process.execPath, "client.js"],
  env: { DATABASE: database.hostname },
});

export const databaseIp = database.privateIp;
export const databaseHost = database.hostname;
export const clientIp = client.privateIp;
