/** How somebody who speaks for one member of a network reaches others: the means behind proxies and dial. */

import * as net from "node:net";
import type { Duplex } from "node:stream";
import * as ipaddr from "ipaddr.js";
import { AddressRanges } from "../address-ranges";
import type { Endpoint } from "../netstack/options";
import type { Stack } from "../netstack/stack";
import { TcpStream } from "../netstack/streams";
import { untilOpen } from "../until-open";
import { DatagramRelay } from "./datagram-relay";
import { type Outside, OutsideError, patience } from "./outside";
import type { Resolver } from "./resolve";

/** Milliseconds for one address to answer a SYN. */
const CONNECT_TIMEOUT = 15_000;
/** UDP pairs outside the network, of one association and of all: each is a descriptor. */
const DATAGRAM_PAIRS = { each: 256, total: 1024 };
/** Members that may answer to one association: where there are more, the one that was asked longest ago may not. */
const ASKED = 4096;

type OnDatagram = (from: Endpoint, data: Uint8Array) => void;

export interface Datagrams {
  /** To a name or address. Lost where it cannot go, as datagrams may be. */
  send(host: string, port: number, data: Uint8Array): void;
  close(): void;
}

export interface Way {
  /** Connects; half-open. @throws an error whose `code` says why (ECONNREFUSED, ENOTFOUND, EHOSTUNREACH, EACCES…). */
  connect(host: string, port: number, signal?: AbortSignal): Promise<Duplex>;
  /** An echo request to a member. @param timeout milliseconds @throws as `connect` */
  ping(host: string, timeout: number): Promise<PingAnswer>;
  /** A UDP port of the member's own. @param onDatagram gets bytes that are its own */
  datagrams(onDatagram: OnDatagram): Datagrams;
}

export interface PingAnswer {
  readonly address: string;
  /** From request to reply. */
  readonly milliseconds: number;
}

export interface WayOptions {
  /** Whose connections outside these are. */
  readonly id: string;
  readonly stack: Stack;
  /** CIDR ranges that are reached through the stack: the network's own, and what is behind its peers. The same list until they change. */
  readonly ranges: () => readonly string[];
  readonly resolver: Resolver;
  /** Absent: nothing outside the network is reached. */
  readonly outside?: () => Outside | undefined;
  /** The member's own ports, which the stack would ask of itself. */
  readonly own?: (port: number, signal?: AbortSignal) => Promise<net.Socket>;
}

export class StackWay implements Way {
  /** What `inside` was made of. */
  private ranges: readonly string[] = [];
  private inside = new AddressRanges([]);
  /** Who hears what comes from outside, by the number of the association, which is its port in `relay`. */
  private readonly associations = new Map<number, OnDatagram>();
  private opened = 0;
  private readonly relay = new DatagramRelay({
    ...DATAGRAM_PAIRS,
    reply: (from, to, data) => this.associations.get(to.port)?.(from, data),
    refuse: () => undefined,
  });

  constructor(private readonly options: WayOptions) {}

  /** What its UDP ports have lost on their way out of the network, by reason. */
  get lost(): Record<string, number> {
    return this.relay.lost;
  }

  async connect(host: string, port: number, signal?: AbortSignal): Promise<Duplex> {
    const addresses = await this.addresses(host);
    if (addresses.length === 0) throw new OutsideError("ENOTFOUND", `${host} is no name in this network`);
    let last: unknown;
    for (const address of addresses) {
      try {
        return await this.connectTo(address, port, signal);
      } catch (error) {
        last = error;
        if (signal?.aborted) break;
      }
    }
    throw last;
  }

  async ping(host: string, timeout: number): Promise<PingAnswer> {
    const [address] = await this.addresses(host);
    if (address === undefined) throw new OutsideError("ENOTFOUND", `${host} is no name in this network`);
    if (!this.isInside(address)) throw new OutsideError("EACCES", `${address} is outside the network`);
    return new Promise((resolve, reject) => {
      this.options.stack.ping(
        address,
        {
          onReply: (milliseconds) => resolve({ address, milliseconds }),
          onError: (code) => reject(new OutsideError(code, `no reply of ${address}`)),
        },
        { timeout },
      );
    });
  }

  datagrams(onDatagram: OnDatagram): Datagrams {
    const { stack } = this.options;
    const asked = new Set<string>();
    const sockets = stack.addresses.map((address) => ({
      address,
      socket: stack.bindUdp(
        { address, port: 0 },
        {
          // Others than those who were asked have no business here.
          onDatagram: (from, _to, data) => {
            // A copy: its bytes are the link's again after this call.
            if (asked.has(from.address)) onDatagram(from, Buffer.from(data));
          },
        },
      ),
    }));
    const end: Endpoint = { address: "", port: ++this.opened };
    const holder = String(end.port);
    this.associations.set(end.port, onDatagram);
    const sendTo = (address: string, port: number, data: Uint8Array) => {
      // Closed while its name was asked for: nobody would give up what it came to hold.
      if (!this.associations.has(end.port)) return;
      try {
        if (this.isInside(address)) {
          asked.delete(address);
          asked.add(address);
          if (asked.size > ASKED) asked.delete(asked.values().next().value as string);
          sockets.find((one) => net.isIPv6(one.address) === net.isIPv6(address))?.socket.send(data, { address, port });
        } else if (this.options.outside?.()?.allows(address))
          this.relay.forward(holder, end, { address, port }, data, () => [{ address, port }]);
      } catch {
        // Port 0, more bytes than a datagram has, an address with a zone, a port that was closed meanwhile.
      }
    };
    return {
      send: (host, port, data) => {
        if (net.isIP(host) !== 0) return sendTo(host, port, data);
        const copy = Buffer.from(data);
        this.addresses(host).then(
          ([address]) => address !== undefined && sendTo(address, port, copy),
          () => undefined,
        );
      },
      close: () => {
        for (const { socket } of sockets) socket.close();
        this.associations.delete(end.port);
        this.relay.release(holder);
      },
    };
  }

  private async addresses(host: string): Promise<string[]> {
    const plain = host.replace(/^\[|\]$/g, "");
    return net.isIP(plain) !== 0 ? [ipaddr.parse(plain).toString()] : this.options.resolver.resolve(plain);
  }

  private isInside(address: string): boolean {
    const ranges = this.options.ranges();
    if (ranges !== this.ranges) {
      this.inside = new AddressRanges(ranges);
      this.ranges = ranges;
    }
    return this.inside.has(address);
  }

  private connectTo(address: string, port: number, signal?: AbortSignal): Promise<Duplex> {
    const { id, stack, own } = this.options;
    if (own && stack.addresses.includes(address)) return own(port, signal);
    if (this.isInside(address)) return dialStack(stack, address, port, signal);
    const outside = this.options.outside?.();
    if (outside) return outside.connect(id, address, port, signal);
    return Promise.reject(new OutsideError("EACCES", `${address} is outside the network, and there is no way out`));
  }
}

/** A connection of a stack that is open. */
export function dialStack(stack: Stack, address: string, port: number, signal?: AbortSignal): Promise<TcpStream> {
  const stream = TcpStream.connect(stack, { address, port, allowHalfOpen: true });
  return untilOpen(stream, patience(address, CONNECT_TIMEOUT, signal));
}
