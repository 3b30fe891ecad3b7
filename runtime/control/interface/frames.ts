/** Datagrams on a connection (`protocol=udp` of `.../dial`): each behind its length in two bytes, big-endian. Pure. */

const LENGTH_BYTES = 2;

/** @param data up to 65535 bytes */
export function frame(data: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + data.length);
  bytes.writeUInt16BE(data.length);
  bytes.set(data, LENGTH_BYTES);
  return bytes;
}

/** Takes a connection's bytes in whatever parts they come. */
export class FrameReader {
  private got: Buffer = Buffer.alloc(0);

  /** @param onDatagram called for each datagram that is complete now; its bytes are the caller's */
  constructor(private readonly onDatagram: (data: Buffer) => void) {}

  push(part: Buffer): void {
    this.got = this.got.length === 0 ? part : Buffer.concat([this.got, part]);
    let at = 0;
    while (this.got.length - at >= LENGTH_BYTES) {
      const end = at + LENGTH_BYTES + this.got.readUInt16BE(at);
      if (this.got.length < end) break;
      this.onDatagram(this.got.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    this.got = this.got.subarray(at);
  }
}
