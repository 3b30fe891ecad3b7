export { type Access, describeAccess, EVERYTHING, isNothing, NOTHING } from "./access";
export { checkPolicy, type PolicyProblem } from "./check";
export { compilePolicy } from "./compile";
export { type InputFault, readAllow, readPolicy } from "./input";
export {
  memberOfDesired,
  memberOfRecord,
  networkOfDesired,
  networkOfRecords,
  type PolicyMember,
  type PolicyNetwork,
} from "./network";
export { canMeet, type Reachability, reachability, reachabilityDiff, type Subject } from "./reach";
export { parseSelector, type Selector, selectorFault } from "./selector";
