/** What an instance is called where its name must be one label of DNS: `FLY_MACHINE_ID`, `MACHINE.vm.APP`, an SRV record's target. Pure. */
import { createHash } from "node:crypto";

/** Hexadecimal, and as long as Fly's are. */
const DIGITS = 14;

/** @param instanceId as the registry and `warren status --json` have it: `mem_….0` */
export function machineId(instanceId: string): string {
  return createHash("sha256").update(instanceId).digest("hex").slice(0, DIGITS);
}
