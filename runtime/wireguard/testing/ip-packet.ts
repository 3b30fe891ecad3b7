import ipaddr from "ipaddr.js";

/** A UDP-shaped inner packet: whole IP header, then `payload`. Families must agree. */
export function ipPacket(source: string, destination: string, payload: Uint8Array | string = ""): Uint8Array {
  const body = typeof payload === "string" ? Buffer.from(payload) : payload;
  const src = ipaddr.parse(source).toByteArray();
  const dst = ipaddr.parse(destination).toByteArray();
  const ipv4 = src.length === 4;
  const header = ipv4 ? 20 : 40;
  const packet = new Uint8Array(header + body.length);
  if (ipv4) {
    packet[0] = 0x45;
    packet[2] = packet.length >>> 8;
    packet[3] = packet.length & 255;
    packet[8] = 64;
    packet[9] = 17;
    packet.set(src, 12);
    packet.set(dst, 16);
  } else {
    packet[0] = 0x60;
    packet[4] = body.length >>> 8;
    packet[5] = body.length & 255;
    packet[6] = 17;
    packet[7] = 64;
    packet.set(src, 8);
    packet.set(dst, 24);
  }
  packet.set(body, header);
  return packet;
}

/** What follows the IP header, as text. */
export function payloadText(packet: Uint8Array): string {
  return Buffer.from(packet.subarray(packet[0] >>> 4 === 4 ? 20 : 40)).toString();
}
