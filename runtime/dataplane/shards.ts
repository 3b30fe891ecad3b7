/**
 * Which thread serves what: a host's port with all its gateways and links in one of them, so that the packets of a flow stay in order
 * and no thread waits for another.
 */
import type { ApplyResult, DataPlaneConfig, DataPlaneStatus, GatewayConfig } from "./config";

/**
 * Spreads ports over threads; a port stays where it is.
 * @param before port id → thread
 * @param threads that may be used
 */
export function assignPorts(
  before: ReadonlyMap<string, number>,
  ports: readonly string[],
  threads: number,
): Map<string, number> {
  const load = new Array<number>(threads).fill(0);
  const assigned = new Map<string, number>();
  for (const port of ports) {
    const thread = before.get(port);
    if (thread === undefined || thread >= threads) continue;
    assigned.set(port, thread);
    load[thread]++;
  }
  for (const port of ports) {
    if (assigned.has(port)) continue;
    const least = load.indexOf(Math.min(...load));
    assigned.set(port, least);
    load[least]++;
  }
  return assigned;
}

/** What one thread gets of the whole. The first one gets what belongs to no host, to say what is wrong with it. */
export function shardOf(
  config: DataPlaneConfig,
  assigned: ReadonlyMap<string, number>,
  thread: number,
): DataPlaneConfig {
  const { watch, ports, gateways, ...rest } = config;
  const mine = (port: string): boolean => (assigned.get(port) ?? 0) === thread;
  return {
    ...rest,
    ports: ports.filter(({ id }) => mine(id)),
    gateways: gateways.filter(({ port }) => mine(port)),
    ...(watch === undefined || thread !== 0 ? {} : { watch }),
  };
}

/**
 * The part of what a thread is to have that it has already; undefined where it gives up nothing.
 * Applied first, it sets free what another thread may be waiting for: a UDP port's number, a device.
 */
export function keptOf(before: DataPlaneConfig, after: DataPlaneConfig): DataPlaneConfig | undefined {
  const ids = (config: DataPlaneConfig): Set<string> =>
    new Set([
      ...config.ports.map(({ id }) => `port ${id}`),
      ...config.gateways.flatMap((gateway) => [
        `gateway ${gateway.id}`,
        ...linksOf(gateway).map(({ id }) => `link ${id}`),
      ]),
    ]);
  const [had, has] = [ids(before), ids(after)];
  if ([...had].every((id) => has.has(id))) return undefined;
  return {
    ...after,
    ports: after.ports.filter(({ id }) => had.has(`port ${id}`)),
    gateways: after.gateways
      .filter(({ id }) => had.has(`gateway ${id}`))
      .map(({ stack, ...gateway }) => ({
        ...gateway,
        links: gateway.links.filter(({ id }) => had.has(`link ${id}`)),
        ...(stack !== undefined && had.has(`link ${stack.id}`) ? { stack } : {}),
      })),
  };
}

/** All links of a gateway, its own stack's too. */
export function linksOf({ links, stack }: GatewayConfig): GatewayConfig["links"] {
  return stack === undefined ? links : [...links, stack];
}

export function mergeResults(results: readonly ApplyResult[]): ApplyResult {
  return {
    ports: Object.assign({}, ...results.map(({ ports }) => ports)),
    problems: results.flatMap(({ problems }) => problems),
  };
}

export function mergeStatus(all: readonly DataPlaneStatus[]): DataPlaneStatus {
  return {
    aead: all[0].aead,
    peers: all.flatMap(({ peers }) => peers),
    links: all.flatMap(({ links }) => links),
    gateways: all.flatMap(({ gateways }) => gateways),
    ports: all.flatMap(({ ports }) => ports),
  };
}
