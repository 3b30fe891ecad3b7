/** `HOST:PORT`, as people and protocols write it. Pure. */

export interface HostPort {
  /** A name or a numeric address, without brackets. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** Reads `api:80`, `10.1.2.5:80` or `[fd00::4]:80`. @returns undefined where it is none of these */
export function parseHostPort(text: string): HostPort | undefined {
  const found = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3]);
  return host !== undefined && port > 0 && port < 65_536 ? { host, port } : undefined;
}
