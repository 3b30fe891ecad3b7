/** Traffic between namespaces, and what to expect of it. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Namespace } from "./namespace";
import type { Program } from "./process";
import { fixedBytes, sha256 } from "./programs/fixed-bytes";
import type { PingResult, PingSettings } from "./programs/stack-ping";
import type { ProbeOptions, ProbeResult } from "./programs/udp-probe";
import { PROGRAMS } from "./repo";

export type { PingResult, PingSettings };

/** Where a traffic server listens. */
export const TRAFFIC_PORT = 8080;

export async function startTrafficServer(namespace: Namespace, port = TRAFFIC_PORT): Promise<Program> {
  const server = await namespace.start([process.execPath, path.join(PROGRAMS, "traffic-server.js"), String(port)]);
  await server.said(/ready/);
  return server;
}

export async function ping(from: Namespace, to: string, options: PingSettings = {}): Promise<PingResult> {
  const count = options.count ?? 3;
  const interval = options.interval ?? 0.05;
  const deadline = options.deadline ?? 5;
  const argv = ["ping", "-n", "-c", String(count), "-i", String(interval), "-W", String(deadline)];
  if (options.size !== undefined) argv.push("-s", String(options.size));
  if (options.dontFragment) argv.push("-M", "do");
  const timeout = (count * interval + deadline + 5) * 1000;
  const { stdout, stderr } = await from.run([...argv, to], { mayFail: true, timeout });
  const found = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  if (!found) throw new Error(`ping ${to} in ${from.name}: ${stdout}${stderr}`);
  return { sent: Number(found[1]), received: Number(found[2]) };
}

function url(address: string, port: number, rest: string): string {
  return `http://${address.includes(":") ? `[${address}]` : address}:${port}${rest}`;
}

/** Moves a file each way over TCP. @throws when one of them does not arrive as it was sent */
export async function exchangeFile(from: Namespace, to: string, size: number, timeout = 30_000): Promise<void> {
  await download(from, to, size, timeout);
  await upload(from, to, size, timeout);
}

export async function download(from: Namespace, to: string, size: number, timeout = 30_000): Promise<void> {
  const file = from.scratch.file(`download-${from.name}-${size}`);
  const limit = String(Math.floor(timeout / 1000));
  await from.run(["curl", "-sS", "-m", limit, "-o", file, url(to, TRAFFIC_PORT, `/bytes/${size}`)], {
    timeout: timeout + 5000,
  });
  const got = sha256(fs.readFileSync(file));
  if (got !== sha256(fixedBytes(size))) throw new Error(`${size} bytes from ${to} arrived changed`);
}

export async function upload(from: Namespace, to: string, size: number, timeout = 30_000): Promise<void> {
  const file = from.scratch.file(`upload-${from.name}-${size}`);
  fs.writeFileSync(file, fixedBytes(size));
  const limit = String(Math.floor(timeout / 1000));
  const { stdout } = await from.run(["curl", "-sS", "-m", limit, "-T", file, url(to, TRAFFIC_PORT, "/")], {
    timeout: timeout + 5000,
  });
  if (stdout !== sha256(fixedBytes(size))) throw new Error(`${size} bytes to ${to} arrived changed: ${stdout}`);
}

/** Sends datagrams (hex) and returns what came back (hex). */
export async function udpProbe(
  from: Namespace,
  to: string,
  datagrams: readonly Uint8Array[],
  options: { port?: number; wait?: number } = {},
): Promise<readonly string[]> {
  const probe: ProbeOptions = {
    address: to,
    port: options.port ?? TRAFFIC_PORT,
    datagrams: datagrams.map((bytes) => Buffer.from(bytes).toString("hex")),
    wait: options.wait ?? 5000,
  };
  const { stdout } = await from.run([process.execPath, path.join(PROGRAMS, "udp-probe.js"), JSON.stringify(probe)]);
  return (JSON.parse(stdout) as ProbeResult).replies;
}

/** Packets on the device that match a tcpdump filter while `body` runs. */
export async function capture(
  namespace: Namespace,
  device: string,
  filter: string,
  body: () => Promise<void>,
): Promise<string[]> {
  const dump = await namespace.start(["tcpdump", "-l", "-n", "-p", "-x", "-i", device, filter]);
  const listening = /listening on/;
  for (let i = 0; i < 100 && !listening.test(dump.stderr); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  if (!listening.test(dump.stderr)) throw new Error(dump.output);
  await body();
  await new Promise((resolve) => setTimeout(resolve, 300));
  await dump.stop();
  return dump.stdout.split(/\n(?=\S)/).filter((packet) => packet.trim() !== "");
}
