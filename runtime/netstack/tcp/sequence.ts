/**
 * Sequence numbers (RFC 9293 section 3.4). Inside, they are plain numbers that never wrap: the 32 bits of the wire are unwrapped at the door, next to a
 * number that is known, and comparisons are the usual ones. On the way out `>>> 0` (or a 32-bit store) gives the wire's form.
 */

/** The number nearest to `near` whose low 32 bits are `wire`. */
export function unwrap(wire: number, near: number): number {
  return near + ((wire - near) | 0);
}

/** Whether timestamp `a` is before `b`, as 32-bit serial numbers (RFC 7323 section 5.2). */
export function timestampBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}
