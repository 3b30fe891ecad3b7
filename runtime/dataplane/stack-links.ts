/** The links of one engine that end in a TCP/IP stack: who has which bell. */
import { Bells, MAX_STACK_LINKS } from "./bells";
import type { LinkConfig } from "./config";
import type { LinkContext } from "./link";
import { PacketRing, type RingMemory } from "./ring";
import { FROM_STACK_BYTES, type StackBell, StackLink, TO_STACK_BYTES } from "./stack-link";

/** What the stack's side needs to know of a link. */
export interface StackRings {
  readonly link: string;
  readonly index: number;
  readonly toStack: RingMemory;
  readonly fromStack: RingMemory;
}

export interface StackLinksDeps {
  /** Made by `Bells.create`, shared with the stack's side. */
  readonly bells: SharedArrayBuffer;
  /** Whether that side is another thread. */
  readonly threads: boolean;
  readonly onOpen: (rings: StackRings) => void;
  readonly onClose: (link: string) => void;
  /** Wakes the stack's side. */
  readonly wake: () => void;
}

export class StackLinks {
  private readonly links: (StackLink | undefined)[] = [];
  private readonly own: Bells;
  private readonly bell: StackBell;
  private wakeDue = false;

  constructor(private readonly deps: StackLinksDeps) {
    this.own = new Bells(deps.bells, "engine");
    this.bell = {
      bells: new Bells(deps.bells, "stack"),
      wake: () => {
        this.wakeDue = true;
      },
    };
  }

  /** @returns the link, or a sentence on why it cannot be. */
  open(context: LinkContext, config: LinkConfig): StackLink | string {
    let index = this.links.indexOf(undefined);
    if (index < 0) index = this.links.length;
    if (index >= MAX_STACK_LINKS) return `More than ${MAX_STACK_LINKS} links with a TCP/IP stack cannot be had here.`;
    const { threads } = this.deps;
    const rings = {
      toStack: PacketRing.create(TO_STACK_BYTES, threads),
      fromStack: PacketRing.create(FROM_STACK_BYTES, threads),
    };
    const link = new StackLink(context, config, index, rings, this.bell, (closed) => {
      this.links[index] = undefined;
      this.deps.onClose(closed.id);
    });
    this.links[index] = link;
    this.deps.onOpen({ link: config.id, index, ...rings });
    return link;
  }

  /**
   * The end of a round: wakes the stacks' side where it slept when something came for it (once, for a wake-up costs as much as many
   * packets). May the engine sleep? From a true answer until `wake` it is signalled when a stack has sent.
   */
  sleep(): boolean {
    if (this.wakeDue) {
      this.wakeDue = false;
      this.deps.wake();
    }
    return this.own.sleep();
  }

  wake(): void {
    this.own.wake();
  }

  /** Serves each link whose stack has sent since, once; what a link leaves is there for the next round. */
  round(serve: (link: StackLink) => void): void {
    this.own.begin();
    for (let index = this.own.take(); index >= 0; index = this.own.take()) {
      const link = this.links[index];
      if (link === undefined) continue;
      serve(link);
      if (link.ready) this.own.ring(index);
    }
  }
}
