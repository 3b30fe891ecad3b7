import * as pulumi from "@pulumi/pulumi";
import * as warren from "pulumi-warren";

const config = new pulumi.Config();

const network = new warren.Network("home", { cidr: "10.7.0.0/24" });

// A key pair is made for this peer. It is in Pulumi's state (encrypted), and nowhere else.
const laptop = new warren.Peer("laptop", { network, presharedKey: true });

// `wg genkey | tee private | wg pubkey` made this one's: its private key never leaves the phone.
const publicKey = config.get("phonePublicKey");
const phone = publicKey === undefined ? undefined : new warren.Peer("phone", { network, publicKey });

const hello = new warren.App("hello", {
  network,
  command: [process.execPath, "hello.js"],
});

export const url = hello.url;
export const helloIp = hello.privateIp;
export const laptopIp = laptop.privateIp;
export const laptopConfig = laptop.config;
export const phoneConfig = phone?.config;
