export type PeerName = "wireguard-go" | "boringtun" | "onetun" | "go-forwarder";
export const peers: Readonly<
  Record<PeerName, { readonly version: string; readonly program: string; readonly toolchain: string }>
>;
export const cacheDir: string;
export function peerPath(name: PeerName): string;
export function hasToolchain(name: PeerName): boolean;
export function ensurePeer(name: PeerName): string | undefined;
