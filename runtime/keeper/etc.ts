/** The name-service files of a sandbox, as texts: pure. */
import type { SandboxSpec } from "./protocol";

export interface EtcFiles {
  readonly "resolv.conf": string;
  readonly "nsswitch.conf": string;
  readonly hosts: string;
}

/**
 * @param hostNsswitch the host's nsswitch.conf, or "" where it has none.
 * @param hostname of this machine, so that a program may resolve its own name.
 */
export function etcFiles(
  spec: Pick<SandboxSpec, "nameservers" | "searchDomain" | "hosts">,
  hostNsswitch: string,
  hostname: string,
): EtcFiles {
  const resolv = [
    ...(spec.searchDomain ? [`search ${spec.searchDomain}`] : []),
    ...spec.nameservers.map((server) => `nameserver ${server}`),
  ];
  // Modules beside files and dns (resolve, mdns, mymachines) would ask services of the host.
  const rest = hostNsswitch.split("\n").filter((line) => !/^\s*hosts\s*:/.test(line));
  while (rest.length > 0 && rest[rest.length - 1] === "") rest.pop();
  const hosts = [
    "127.0.0.1 localhost",
    "::1 localhost ip6-localhost ip6-loopback",
    ...(hostname && hostname !== "localhost" ? [`127.0.1.1 ${hostname}`] : []),
    ...spec.hosts,
  ];
  return {
    "resolv.conf": `${resolv.join("\n")}\n`,
    "nsswitch.conf": `${[...rest, "hosts: files dns"].join("\n")}\n`,
    hosts: `${hosts.join("\n")}\n`,
  };
}
