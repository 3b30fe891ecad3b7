/**
 * Taking part in a network from within a Node program. Loaded when it is used: a Pulumi program that only declares carries none of it.
 * Programs without Pulumi import the same from `pulumi-warren/net`.
 */
import type * as net from "../net";

export type { DialOptions, JoinOptions, Membership } from "../net";

const load = (): typeof net => require("../net") as typeof net;

export const join: typeof net.join = async (...args) => load().join(...args);
export const dial: typeof net.dial = async (...args) => load().dial(...args);
export const listen: typeof net.listen = async (...args) => load().listen(...args);
export const dispatcher: typeof net.dispatcher = (...args) => load().dispatcher(...args);
