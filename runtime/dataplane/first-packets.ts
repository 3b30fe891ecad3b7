/** The packets that flows began with, for another try: a few, small, the newest. */

const PLACES = 64;
const LARGEST = 256;

export class FirstPackets {
  private readonly bytes = new Uint8Array(PLACES * LARGEST);
  private readonly owners = new Int32Array(PLACES).fill(-1);
  private readonly lengths = new Uint16Array(PLACES);
  private readonly partials = new Uint8Array(PLACES);
  private next = 0;

  /** @param partial as its checksum is */
  keep(owner: number, buf: Uint8Array, off: number, len: number, partial: boolean): void {
    let place = this.owners.indexOf(owner);
    if (len > LARGEST) {
      if (place >= 0) this.owners[place] = -1;
      return;
    }
    if (place < 0) {
      place = this.next;
      this.next = (this.next + 1) % PLACES;
    }
    this.owners[place] = owner;
    this.lengths[place] = len;
    this.partials[place] = partial ? 1 : 0;
    for (let i = 0; i < len; i++) this.bytes[place * LARGEST + i] = buf[off + i];
  }

  /** Writes the packet of `owner` at `out[off]`. @returns its place; -1: there is none */
  copy(owner: number, out: Uint8Array, off: number): number {
    const place = this.owners.indexOf(owner);
    if (place >= 0) for (let i = 0; i < this.lengths[place]; i++) out[off + i] = this.bytes[place * LARGEST + i];
    return place;
  }

  lengthOf(place: number): number {
    return this.lengths[place];
  }

  isPartial(place: number): boolean {
    return this.partials[place] !== 0;
  }
}
