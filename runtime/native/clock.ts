/** What the kernel knows of this machine's clock. */
import { foreign } from "./foreign";

/** struct timex of 64-bit Linux: its size, where `status` stands in it, and the bit that says that nothing keeps the clock in step. */
const TIMEX_BYTES = 208;
const STATUS = 40;
const STA_UNSYNC = 0x40;

/** Whether something (NTP, the hypervisor) keeps the clock in step: adjtimex(2) without a mode only reads. undefined: not known. */
export function clockIsKept(): boolean | undefined {
  try {
    const adjtimex = foreign().bind<Buffer>("adjtimex", "int", ["void *"]);
    const state = Buffer.alloc(TIMEX_BYTES);
    return adjtimex(state) < 0 ? undefined : (state.readInt32LE(STATUS) & STA_UNSYNC) === 0;
  } catch {
    return undefined;
  }
}
