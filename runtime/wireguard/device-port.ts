import { WarrenError } from "../errors";
import { readU32 } from "./bytes";
import type { Device } from "./device";
import { type DropCounters, newDropCounters } from "./drops";
import { IndexTable } from "./index-table";
import { LoadMeter } from "./load";
import { messageType } from "./messages";
import type { Endpoint } from "./types";

/** Devices whose MAC1 is always looked at, those that had the last initiations; and MAC1s of others in a burst and a second. */
const RECENT_DEVICES = 8;
const SEARCH_BURST = 20_000;
const SEARCHES_PER_MS = 50;

/**
 * Several devices behind one UDP port. Initiations are told apart by MAC1, which only fits the key they were made for;
 * everything else by receiver index, from one table. Give `indices` and `load` to the devices' constructors.
 *
 * The devices that had an initiation last are tried first, and how many others are tried is bounded: who sends forged initiations to a port
 * of hundreds of devices takes a tenth of a processor core, no more.
 */
export class DevicePort {
  readonly indices: IndexTable;
  readonly load = new LoadMeter();
  /** What could not be given to any device. */
  readonly drops: DropCounters = newDropCounters();
  private readonly devices: Device[] = [];
  private searches = SEARCH_BURST;
  private searchedAt = 0;

  constructor(options: { random(bytes: number): Uint8Array }) {
    this.indices = new IndexTable((bytes) => options.random(bytes));
  }

  /** @throws WarrenError WARREN_INVALID_INPUT for a device with another index table. */
  add(device: Device): void {
    if (device.indices !== this.indices)
      throw new WarrenError("WARREN_INVALID_INPUT", "The device must be made with this port's index table.", {
        path: "indices",
      });
    if (!this.devices.includes(device)) this.devices.push(device);
  }

  /** The device goes on existing: close it to wipe its keys. */
  remove(device: Device): void {
    const at = this.devices.indexOf(device);
    if (at >= 0) this.devices.splice(at, 1);
  }

  receive(buf: Uint8Array, off: number, len: number, from: Endpoint): void {
    const type = messageType(buf, off, len);
    if (type === undefined) {
      this.drops["malformed-message"]++;
      return;
    }
    if (type === "initiation") {
      const message = buf.subarray(off, off + len);
      const device = this.find(message);
      if (device === undefined) this.drops.mac1++;
      else device.handshaker.receiveInitiation(message, from, device.clock.now());
      return;
    }
    const entry = this.indices.lookup(readU32(buf, off + (type === "response" ? 8 : 4)));
    if (entry === undefined) this.drops["unknown-index"]++;
    else entry.peer.device.receiveFor(entry, type, buf, off, len, from);
  }

  /**
   * Where the peer was last heard from that this datagram is for, should it be genuine: whoever reads the socket need not look further
   * where that is its source. Undefined for an initiation, which does not say whose it is.
   */
  expectedFrom(buf: Uint8Array, off: number, len: number): Endpoint | undefined {
    const type = messageType(buf, off, len);
    if (type === undefined || type === "initiation") return undefined;
    return this.indices.lookup(readU32(buf, off + (type === "response" ? 8 : 4)))?.peer.endpoint;
  }

  /** The device that an initiation is for. */
  private find(message: Uint8Array): Device | undefined {
    const { devices } = this;
    let tried = Math.min(RECENT_DEVICES, devices.length);
    if (devices.length > RECENT_DEVICES) {
      const now = devices[0].clock.now();
      this.searches = Math.min(SEARCH_BURST, this.searches + Math.max(0, now - this.searchedAt) * SEARCHES_PER_MS);
      this.searchedAt = now;
      tried += Math.floor(Math.min(this.searches, devices.length - tried));
    }
    for (let i = 0; i < tried; i++) {
      const device = devices[i];
      if (!device.checkMac1(message)) continue;
      if (i > 0) {
        devices.copyWithin(1, 0, i);
        devices[0] = device;
      }
      // Searches that found what they were for cost those who have the key; forged ones pay.
      return device;
    }
    this.searches -= Math.max(0, tried - RECENT_DEVICES);
    return undefined;
  }

  /** The earliest of the devices' timers, in milliseconds on their clock. */
  nextTimer(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const device of this.devices) earliest = Math.min(earliest, device.nextTimer());
    return earliest;
  }

  tick(): void {
    for (const device of this.devices) device.tick();
  }
}
