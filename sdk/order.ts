/**
 * The order in which members are constructed on a network. Checks reach the provider in an order that differs from run to run, so
 * each member takes with it the ones constructed before it, and its address follows from that.
 */
import * as pulumi from "@pulumi/pulumi";

/** What decides how many addresses a member takes, and which. */
export interface OrderedMember {
  readonly name: pulumi.Input<string>;
  readonly kind: "app" | "peer";
  readonly region?: pulumi.Input<string>;
  readonly regions?: pulumi.Input<pulumi.Input<string>[]>;
  readonly instances?: pulumi.Input<number>;
  readonly ip?: pulumi.Input<string>;
}

/** Members by Network object, and by name for networks that are named by a string in one run of a program. */
interface Orders {
  readonly byNetwork: WeakMap<object, OrderedMember[]>;
  readonly byRun: WeakMap<object, Map<string, OrderedMember[]>>;
}

/** One for all copies of this package in a process: members of two copies may share a network. */
const KEY = Symbol.for("pulumi-warren.order");

function orders(): Orders {
  const holder = globalThis as { [KEY]?: Orders };
  holder[KEY] ??= { byNetwork: new WeakMap(), byRun: new WeakMap() };
  return holder[KEY];
}

function membersOf(network: object | string): OrderedMember[] {
  const { byNetwork, byRun } = orders();
  if (typeof network === "string") {
    // One process may run several programs (the Automation API): each run has a stack resource of its own.
    const run = pulumi.runtime.getStackResource() ?? globalThis;
    const names = byRun.get(run) ?? new Map<string, OrderedMember[]>();
    byRun.set(run, names);
    const members = names.get(network) ?? [];
    names.set(network, members);
    return members;
  }
  const members = byNetwork.get(network) ?? [];
  byNetwork.set(network, members);
  return members;
}

/**
 * The hidden inputs `before` and `unordered` of a member that is being constructed, which from then on is before all others.
 * @param network undefined: an Output decides which network it is, so there is no order.
 */
export function placeInOrder(
  network: object | string | undefined,
  member: OrderedMember,
): { before: OrderedMember[]; unordered?: true } {
  if (network === undefined) return { before: [], unordered: true };
  const members = membersOf(network);
  const before = [...members];
  if (insideApply()) return { before, unordered: true };
  members.push(member);
  return { before };
}

const PULUMI_OUTPUT = /[\\/]@pulumi[\\/]pulumi[\\/](?:[\w-]+[\\/])*output\.js$/;

/**
 * True when the code that runs now was called by Output.apply. Values settle in an order that differs from run to run, and so
 * do the callbacks that wait for them, whereas the body of a program, synchronous or awaiting, is one sequence. Nothing but the
 * call stack tells the two apart: apply awaits its callback, so the file of Output is on the stack, also (as an async frame)
 * behind an await inside the callback.
 */
function insideApply(): boolean {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 200;
    // Raw frames: source maps, where they are installed, would rewrite the file names.
    Error.prepareStackTrace = (_error, frames) => frames;
    const holder: { stack?: NodeJS.CallSite[] } = {};
    Error.captureStackTrace(holder, insideApply);
    return (holder.stack ?? []).some((frame) => PULUMI_OUTPUT.test(frame.getFileName() ?? ""));
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
}
