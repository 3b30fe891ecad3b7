/** The addresses of a stack. */
import { AddressTable } from "../dataplane/address-table";
import { WarrenError } from "../errors";
import { addressBytes, familyOfBytes, isHostAddress } from "./address";

/** Bytes that every link carries whole (RFC 791 section 3.2; RFC 8200 section 5). */
const MIN_MTU = { 4: 576, 6: 1280 } as const;

export class OwnAddresses {
  readonly list: readonly Uint8Array[];
  private readonly table: AddressTable<true>;

  /** @throws WarrenError WARREN_INVALID_INPUT, also where the MTU is too small for one of them */
  constructor(
    readonly texts: readonly string[],
    mtu: number,
  ) {
    this.list = texts.map((text, i) => {
      const path = `addresses[${i}]`;
      const bytes = addressBytes(text, path);
      if (isHostAddress(bytes, 0, familyOfBytes(bytes))) return bytes;
      throw new WarrenError("WARREN_INVALID_INPUT", `${path}: ${text} is no address of a single host on a network.`, {
        path,
      });
    });
    const least = this.has(6) ? MIN_MTU[6] : MIN_MTU[4];
    if (!Number.isInteger(mtu) || mtu < least || mtu > 65535)
      throw new WarrenError("WARREN_INVALID_INPUT", `mtu: ${mtu} is not in ${least} to 65535.`, { path: "mtu" });
    this.table = new AddressTable(this.list.map((bytes) => [bytes, true]));
  }

  has(family: 4 | 6): boolean {
    return this.list.some((bytes) => familyOfBytes(bytes) === family);
  }

  /** Is the address at `buf[off]` one of them? */
  owns(buf: Uint8Array, off: number, family: 4 | 6): boolean {
    return this.table.get(buf, off, family) !== undefined;
  }

  ownsBytes(address: Uint8Array): boolean {
    return this.owns(address, 0, familyOfBytes(address));
  }

  /** The one for packets to this address. */
  sourceFor(destination: Uint8Array): Uint8Array | undefined {
    return this.list.find((bytes) => bytes.length === destination.length);
  }
}
