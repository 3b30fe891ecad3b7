/** What a packet has to pass beside the way to its destination: the policy, and service addresses in both directions. */
import type { PolicyConfig, ServiceConfig } from "./config";
import { Headers } from "./headers";
import { Policy } from "./policy";
import { PolicyFilter, type Verdict } from "./policy-filter";
import { type ServiceAddress, serviceAddresses } from "./service";
import { ServiceNat, type Steering as ServiceOutcome } from "./service-nat";

/** `retry`: the packet is gone, and `takeRetry` may have another in its place. Else a reason to drop it. */
export type Outcome = Verdict | ServiceOutcome;

export class Steering {
  /** There is a policy or a service; else nothing here need be asked. */
  active = false;
  services: readonly ServiceAddress[] = [];
  /** Of the packet that was looked at last. */
  readonly headers = new Headers();
  private readonly ownHeaders = new Headers();
  private filter: PolicyFilter | undefined;
  private nat: ServiceNat | undefined;

  /** @param seed 32 bits that nobody else knows. @param now milliseconds, monotonic */
  constructor(
    private readonly seed: number,
    private readonly now: () => number,
  ) {}

  /** @throws WarrenError WARREN_INVALID_RANGE */
  setPolicy(policy: PolicyConfig | undefined): void {
    if (policy === undefined) this.filter = undefined;
    else if (this.filter === undefined) this.filter = new PolicyFilter(new Policy(policy), { seed: this.seed });
    else this.filter.setPolicy(new Policy(policy));
    this.active = this.filter !== undefined || this.nat !== undefined;
  }

  /** @throws WarrenError WARREN_INVALID_RANGE */
  setServices(services: readonly ServiceConfig[]): void {
    this.services = serviceAddresses(services);
    if (this.services.length > 0) this.nat ??= new ServiceNat({ seed: this.seed });
    this.nat?.setServices(this.services, this.now());
    this.active = this.filter !== undefined || this.nat !== undefined;
  }

  /**
   * A packet that has somewhere to go. One that answers to a service's client gets the service address as source.
   * @param judge whether the policy is asked.
   * @param partial its checksum field holds the pseudo header's share alone.
   */
  pass(judge: boolean, buf: Uint8Array, off: number, len: number, partial: boolean): Outcome {
    const { headers, filter, nat } = this;
    const now = this.now();
    headers.read(buf, off, len);
    if (judge && filter !== undefined) {
      const verdict = filter.judge(headers, buf, now);
      if (verdict !== "pass") return verdict;
    }
    return nat?.isBusy(now) ? nat.toClient(headers, buf, off, partial, now) : "pass";
  }

  /** A packet that the gateway made: an error about a packet to a backend is one about the service to its client. */
  passOwn(buf: Uint8Array, off: number, len: number): Outcome {
    const { nat, ownHeaders } = this;
    const now = this.now();
    if (!nat?.isBusy(now)) return "pass";
    ownHeaders.read(buf, off, len);
    return nat.toClient(ownHeaders, buf, off, false, now);
  }

  /** A packet to a service address gets a backend as destination, which is what the policy judges. Dropped, it is what it was. */
  toBackend(
    service: ServiceAddress,
    judge: boolean,
    buf: Uint8Array,
    off: number,
    len: number,
    partial: boolean,
  ): Outcome {
    const { headers, filter } = this;
    const nat = this.nat!;
    const now = this.now();
    headers.read(buf, off, len);
    const outcome = nat.toBackend(headers, buf, off, service, partial, now);
    if (outcome !== "pass" || !judge || filter === undefined || nat.toItself) return outcome;
    const verdict = filter.judge(headers, buf, now);
    if (verdict !== "pass") nat.undo(headers, buf, off, service, partial);
    return verdict;
  }

  /** After `retry`: writes the packet that shall be sent instead, as its client sent it. @returns its length; 0: there is none */
  takeRetry(out: Uint8Array, off: number): number {
    return this.nat!.takeRetry(out, off);
  }
}
