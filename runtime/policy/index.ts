export { type Access, describeAccess, EVERYTHING, NOTHING } from "./access";
export { compilePolicy } from "./compile";
export {
  memberOfDesired,
  memberOfRecord,
  networkOfDesired,
  networkOfRecords,
  type PolicyMember,
  type PolicyNetwork,
} from "./network";
export { parseSelector, type Selector, selectorFault } from "./selector";
