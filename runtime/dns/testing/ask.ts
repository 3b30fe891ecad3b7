/** Questions and answers of tests, in dns-packet's words. */
import * as dnsPacket from "dns-packet";
import { type Asker, answer } from "../answer";
import { Names } from "../names";
import type { ZoneView } from "../zone";

export const view: ZoneView = {
  serial: 7,
  domain: "internal",
  regions: ["fra"],
  ranges: ["10.1.2.0/24", "fd00:1::/64"],
  gatewayIps: ["10.1.2.1", "fd00:1::1"],
  gateways: [
    { region: "ord", addresses: ["10.1.2.253", "fd00:1::fd"] },
    { region: "iad", addresses: ["10.1.2.252", "fd00:1::fc"] },
    { region: "iad", addresses: ["10.1.2.251"] },
  ],
  dnsIps: ["10.1.2.2", "fd00:1::2"],
  apps: [
    {
      name: "api",
      port: 8080,
      tags: { role: "web", Tier: "Front" },
      service: ["10.1.2.254", "fd00:1::fe"],
      instances: [
        { id: "mem_a.0", machine: "a0", region: "ord", hostId: "host-ord", addresses: ["10.1.2.4", "fd00:1::4"] },
        { id: "mem_a.1", machine: "a1", region: "iad", hostId: "host-iad", addresses: ["10.1.2.5", "fd00:1::5"] },
        { id: "mem_a.2", machine: "a2", region: "ord", hostId: "host-ord", addresses: ["10.1.2.6", "fd00:1::6"] },
      ],
    },
    {
      name: "down",
      port: 0,
      tags: {},
      service: [],
      instances: [
        { id: "mem_d.0", machine: "d0", region: "iad", hostId: "host-iad", addresses: ["10.1.2.7"] },
        { id: "mem_d.1", machine: "d1", region: "ord", hostId: "host-ord", addresses: ["10.1.2.8"] },
      ],
    },
    {
      name: "wide",
      port: 80,
      tags: {},
      service: [],
      instances: Array.from({ length: 200 }, (_, i) => ({
        id: `mem_w.${i}`,
        machine: `w${i}`,
        region: "ord",
        hostId: "host-ord",
        addresses: [`10.1.3.${i}`],
      })),
    },
  ],
  peers: [{ name: "laptop", addresses: ["10.1.2.3", "fd00:1::3"] }],
};

/** `mem_a.2` and the instances of `down` are not healthy. */
export function namesOf(zone: ZoneView, healthy: readonly string[] = ["mem_a.0", "mem_a.1"]): Names {
  const names = new Names(zone);
  names.setHealthy(new Set(healthy));
  return names;
}

export function query(name: string, type: string, more: Partial<dnsPacket.Packet> = {}): Buffer {
  return dnsPacket.encode({
    type: "query",
    id: 3,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ name, type: type as dnsPacket.RecordType }],
    ...more,
  });
}

export function edns(size: number, version = 0, flags = 0): Partial<dnsPacket.Packet> {
  const opt = {
    type: "OPT",
    name: ".",
    udpPayloadSize: size,
    extendedRcode: 0,
    ednsVersion: version,
    flags,
    options: [],
  };
  return { additionals: [opt] as unknown as dnsPacket.Answer[] };
}

export interface Read {
  readonly id: number;
  readonly rcode: string;
  readonly questions: { name: string; type: string }[];
  readonly answers: { type: string; name: string; ttl: number; class: string; data: unknown }[];
  readonly authorities: { type: string; name: string; ttl: number; data: unknown }[];
  readonly additionals: { type: string; name: string; data?: unknown; extendedRcode?: number; flag_do?: boolean }[];
  readonly flag_aa: boolean;
  readonly flag_tc: boolean;
  readonly flag_rd: boolean;
  readonly flag_ra: boolean;
}

export const read = (message: Uint8Array): Read => dnsPacket.decode(Buffer.from(message)) as unknown as Read;

/** @throws Error where there is no reply of our own */
export function replyTo(message: Uint8Array, names: Names, asker?: Asker): Uint8Array {
  const outcome = answer(message, names, asker);
  if (outcome === undefined || !("reply" in outcome)) throw new Error(`no reply: ${JSON.stringify(outcome)}`);
  return outcome.reply;
}

export const data = (reply: Read): unknown[] => reply.answers.map((record) => record.data);

/** Of TXT records: their texts. */
export const texts = (reply: Read): string[] =>
  reply.answers.map((record) => Buffer.concat(record.data as Buffer[]).toString());
