/** A link whose far end is a TCP/IP stack of this process instead of a kernel's device. */

export interface PacketPipe {
  readonly id: string;
  /**
   * Gives the switch a packet. It is copied before the call returns.
   * @param segment 0: a whole packet with right checksums. Else a TCP packet of up to 64 KiB that is to be split into segments
   *   of this many bytes of payload, whose checksum field holds the sum of its pseudo header only (as IFF_VNET_HDR has it).
   * @returns false where the pipe is full: the packet is not taken, and `onDrain` follows when there is room again.
   */
  send(buf: Uint8Array, off: number, len: number, segment: number): boolean;
  /**
   * A packet for the stack, valid during the call. One with `segment` above 0 was joined of several whose checksums were right;
   * then its own checksum field means nothing.
   */
  onPacket: (buf: Uint8Array, off: number, len: number, segment: number) => void;
  /** After a round of packets: the time to answer several at once. */
  onRoundEnd: () => void;
  onDrain: () => void;
}
