/** A wg-quick file (wg(8), wg-quick(8)) as a program reads it that joins with it. Pure. */
import ipaddr from "ipaddr.js";
import { WarrenError } from "../runtime/errors";

export interface WgPeer {
  /** base64. */
  readonly publicKey: string;
  readonly presharedKey?: string;
  /** CIDR ranges. */
  readonly allowedIps: readonly string[];
  /** `host:port`; the host may be a name. */
  readonly endpoint?: string;
  /** Seconds; 0: off. */
  readonly persistentKeepalive: number;
}

export interface WgConfig {
  /** base64. */
  readonly privateKey: string;
  /** Without prefix length. */
  readonly addresses: readonly string[];
  /** Numeric addresses of DNS servers. */
  readonly dns: readonly string[];
  readonly searchDomains: readonly string[];
  readonly mtu: number;
  readonly listenPort: number;
  readonly peers: readonly WgPeer[];
}

const DEFAULT_MTU = 1420;
/** Of wg-quick, about the kernel's routes and the user's commands: there is nothing here that they could change. */
const IGNORED = ["table", "preup", "postup", "predown", "postdown", "saveconfig", "fwmark"];

interface Line {
  readonly number: number;
  readonly key: string;
  readonly value: string;
}

/** @throws WarrenError WARREN_INVALID_INPUT naming the line, never the value of a key */
export function parseWgConfig(text: string): WgConfig {
  const sections = readSections(text);
  const [first, ...more] = sections.filter(({ name }) => name === "interface");
  if (first === undefined) throw refuse("there is no [Interface] section: give the whole text of a peer's config.");
  if (more.length > 0) throw refuse(`line ${more[0].number} begins a second [Interface].`);
  const peers = sections.filter(({ name }) => name === "peer").map(({ number, lines }) => readPeer(number, lines));
  if (peers.length === 0) throw refuse("there is no [Peer] section: give the whole text of a peer's config.");
  return { ...readInterface(first.lines), peers };
}

function refuse(what: string): WarrenError {
  return new WarrenError("WARREN_INVALID_INPUT", `The WireGuard config cannot be used: ${what}`, { path: "config" });
}

function readSections(text: string): { name: string; number: number; lines: Line[] }[] {
  const sections: { name: string; number: number; lines: Line[] }[] = [];
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.replace(/#.*/, "").trim();
    const number = i + 1;
    if (line === "") continue;
    const header = /^\[(interface|peer)\]$/i.exec(line);
    if (header) {
      sections.push({ name: header[1].toLowerCase(), number, lines: [] });
      continue;
    }
    const pair = /^([A-Za-z]+)\s*=\s*(.*)$/.exec(line);
    const section = sections.at(-1);
    if (!pair || section === undefined)
      throw refuse(`line ${number} is neither [Interface], [Peer] nor "Key = value" in one of them.`);
    section.lines.push({ number, key: pair[1].toLowerCase(), value: pair[2] });
  }
  return sections;
}

function readInterface(lines: readonly Line[]): Omit<WgConfig, "peers"> {
  let privateKey: string | undefined;
  let mtu = DEFAULT_MTU;
  let listenPort = 0;
  const addresses: string[] = [];
  const dns: string[] = [];
  const searchDomains: string[] = [];
  for (const line of lines) {
    if (line.key === "privatekey") privateKey = key(line);
    else if (line.key === "address") addresses.push(...list(line).map((entry) => range(line, entry).split("/")[0]));
    else if (line.key === "mtu") mtu = integer(line, 576, 65_535);
    else if (line.key === "listenport") listenPort = integer(line, 0, 65_535);
    else if (line.key === "dns")
      for (const entry of list(line)) (isAddress(entry) ? dns : searchDomains).push(entry.replace(/^~/, ""));
    else if (!IGNORED.includes(line.key)) throw refuse(`line ${line.number} has an unknown key in [Interface].`);
  }
  if (privateKey === undefined)
    throw refuse("[Interface] has no PrivateKey: put in the key that belongs to this peer's public key.");
  if (addresses.length === 0) throw refuse("[Interface] has no Address.");
  return { privateKey, addresses, dns, searchDomains: [...new Set(searchDomains)], mtu, listenPort };
}

function readPeer(number: number, lines: readonly Line[]): WgPeer {
  let publicKey: string | undefined;
  let presharedKey: string | undefined;
  let endpoint: string | undefined;
  let persistentKeepalive = 0;
  const allowedIps: string[] = [];
  for (const line of lines) {
    if (line.key === "publickey") publicKey = key(line);
    else if (line.key === "presharedkey") presharedKey = key(line);
    else if (line.key === "allowedips") allowedIps.push(...list(line).map((entry) => range(line, entry)));
    else if (line.key === "endpoint") endpoint = hostPort(line);
    else if (line.key === "persistentkeepalive")
      persistentKeepalive = line.value.toLowerCase() === "off" ? 0 : integer(line, 0, 65_535);
    else throw refuse(`line ${line.number} has an unknown key in [Peer].`);
  }
  if (publicKey === undefined) throw refuse(`the [Peer] of line ${number} has no PublicKey.`);
  return {
    publicKey,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    allowedIps,
    ...(endpoint === undefined ? {} : { endpoint }),
    persistentKeepalive,
  };
}

function list({ value }: Line): string[] {
  return value
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

function key({ number, value }: Line): string {
  if (!/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(value))
    throw refuse(`the key in line ${number} is not 32 bytes in base64.`);
  return value;
}

function integer({ number, value }: Line, least: number, most: number): number {
  if (/^\d{1,9}$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value);
  throw refuse(`line ${number} has "${value}" where a number from ${least} to ${most} belongs.`);
}

function range({ number }: Line, entry: string): string {
  const [address, length, ...rest] = entry.split("/");
  if (isAddress(address) && rest.length === 0) {
    const longest = address.includes(":") ? 128 : 32;
    if (length === undefined) return `${address}/${longest}`;
    if (/^\d{1,3}$/.test(length) && Number(length) <= longest) return entry;
  }
  throw refuse(`line ${number} has "${entry}" where an address or CIDR range belongs.`);
}

function hostPort({ number, value }: Line): string {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(value);
  const valid =
    match !== null &&
    Number(match[3]) >= 1 &&
    Number(match[3]) <= 65_535 &&
    (match[1] === undefined || ipaddr.IPv6.isValid(match[1]));
  if (!valid) throw refuse(`the Endpoint in line ${number} is "${value}", not host:port.`);
  return value;
}

export function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || (text.includes(":") && ipaddr.IPv6.isValid(text));
}
