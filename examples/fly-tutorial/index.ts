import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as warren from "pulumi-warren";

/** The Go server where there is Go, its twin in Node otherwise: the same program twice. */
function buildServer(): { source: string; command: string[] } {
  if (spawnSync("go", ["version"]).error) return { source: "server-node", command: [process.execPath, "server.js"] };
  const source = path.join("build", "go");
  const build = ["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path.resolve(source, "server"), "."];
  if (!fs.existsSync(source)) console.log("Go builds the server; the first time takes longest.");
  fs.mkdirSync(source, { recursive: true });
  execFileSync("go", build, { cwd: "server", stdio: "pipe", env: { ...process.env, CGO_ENABLED: "0" } });
  return { source, command: ["./server"] };
}

const server = buildServer();

const network = new warren.Network("my-private-network", { cidr: "10.1.2.0/24" });
const laptop = new warren.Peer("laptop", { network });
const east = new warren.App("api-service-east", { network, region: "ord", ...server });
const west = new warren.App("api-service-west", { network, region: "iad", ...server });

export const eastIp = east.privateIp; // 10.1.2.4, already visible in `pulumi preview`
export const westIp = west.privateIp; // 10.1.2.5
export const config = laptop.config; // secret: a wg-quick file, Address 10.1.2.3/24
