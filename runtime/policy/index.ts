export { type Access, describeAccess, EVERYTHING, isNothing, NOTHING } from "./access";
export { checkPolicy } from "./check";
export { compilePolicy } from "./compile";
export { type InputFault, readAllow, readPolicy } from "./input";
export {
  healthPort,
  memberOfDesired,
  memberOfRecord,
  networkOfDesired,
  networkOfRecords,
  type PolicyMember,
  type PolicyNetwork,
} from "./network";
export type { PolicyProblem } from "./problem";
export { canMeet, type Reachability, reachability, reachabilityDiff, type Subject } from "./reach";
export { parseSelector, type Selector, selectorFault } from "./selector";
