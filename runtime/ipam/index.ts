export { type Address, addressKey, type Family, formatAddress, keyAddress, parseAddress } from "./address";
export { describeRanges, type RangeChange, rangeChange } from "./change";
export { defaultCidr } from "./default-cidr";
export {
  capacity,
  checkRoom,
  type FamilyLayout,
  issuable,
  type Layout,
  LONGEST_PREFIX,
  layout,
  pinned,
  type SpaceSpec,
  unissued,
  wellKnown,
} from "./layout";
export { describeOwner, type PlanInput, plan, sameStack } from "./plan";
export {
  type Cidr,
  cidr,
  contains,
  formatCidr,
  normalize,
  overlaps,
  parseCidr,
  type Span,
  size,
  spanCidrs,
  subtract,
} from "./range";
export {
  describeHolder,
  gatewaySlot,
  isGatewaySlot,
  isTopSlot,
  SERVICE_SLOT,
  slotRegion,
  withTopSlots,
} from "./slots";
export { type FamilyView, type Held, type ListedLease, type ListedLeases, listView, type NetworkView } from "./view";
