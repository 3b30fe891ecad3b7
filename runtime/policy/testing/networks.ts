/** Networks for the tests of the policy: a few members with addresses, and the desired state that holds them. */
import type { DesiredApp, DesiredNetwork, DesiredPeer } from "../../control/interface/desired";
import type { AllowRule, AppSpec, PolicyRule } from "../../control/interface/types";

export function rule(from: string | string[], to: string | string[], more: Partial<PolicyRule> = {}): PolicyRule {
  return { from: [from].flat(), to: [to].flat(), protocol: "any", ports: [], ...more };
}

export function tcp(...ports: number[]): Pick<AllowRule, "protocol" | "ports"> {
  return { protocol: "tcp", ports: ports.map((port) => [port, port]) };
}

/** @param ips one for each of `regions`, in order */
export function app(
  name: string,
  ips: Record<string, string>,
  spec: Partial<AppSpec> = {},
  service?: string,
): DesiredApp {
  const regions = Object.keys(ips);
  return {
    kind: "app",
    id: `mem_${name}`,
    name,
    spec: {
      regions,
      instances: 1,
      port: 8080,
      command: ["./server"],
      cwd: "/",
      env: {},
      triggers: [],
      health: { type: "tcp", interval: 5, timeout: 2, threshold: 3 },
      restart: "always",
      tags: {},
      ...spec,
    },
    instances: regions.map((region, i) => ({
      id: `mem_${name}.${i}`,
      slot: `${region}/0`,
      region,
      hostId: `host-${region}`,
      address: { slot: `${region}/0`, ipv4: ips[region] },
    })),
    ...(service === undefined ? {} : { service: { slot: "service", ipv4: service } }),
  };
}

export function peer(name: string, ip: string, more: Partial<DesiredPeer> = {}): DesiredPeer {
  return {
    kind: "peer",
    id: `mem_${name}`,
    name,
    hostId: "host-local",
    address: { slot: "peer", ipv4: ip },
    publicKey: name,
    routes: [],
    ...more,
  };
}

export function network(
  members: DesiredNetwork["members"],
  policy?: PolicyRule[],
  more: Partial<DesiredNetwork> = {},
): DesiredNetwork {
  return {
    id: "net_1",
    name: "net",
    cidr: "10.1.2.0/24",
    domain: "internal",
    mtu: 1420,
    gatewayIps: ["10.1.2.1"],
    dnsIps: ["10.1.2.2"],
    gateways: [
      { hostId: "host-ord", privateKey: "", publicKey: "", address: { slot: "gateway:ord", ipv4: "10.1.2.254" } },
      { hostId: "host-iad", privateKey: "", publicKey: "", address: { slot: "gateway:iad", ipv4: "10.1.2.253" } },
    ],
    members,
    ...(policy === undefined ? {} : { policy }),
    ...more,
  };
}
