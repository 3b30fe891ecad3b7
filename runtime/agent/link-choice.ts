/** Which link an app gets: the best that this machine has, or what WARREN_LINK says. */
import { WarrenError } from "../errors";
import type { LinkKind } from "../keeper/protocol";

export const LINK_SETTING = "WARREN_LINK";

/** What WARREN_LINK says: for all, or for regions. */
export interface LinkSetting {
  readonly all?: LinkKind;
  readonly regions: ReadonlyMap<string, LinkKind>;
}

/** `tun`, `userspace`, or for some regions only: `ord=tun,iad=userspace`. @throws WarrenError WARREN_INVALID_INPUT */
export function parseLinkSetting(text = ""): LinkSetting {
  const isLink = (word: string): word is LinkKind => word === "tun" || word === "userspace";
  let all: LinkKind | undefined;
  const regions = new Map<string, LinkKind>();
  for (const part of text
    .split(",")
    .map((word) => word.trim())
    .filter(Boolean)) {
    const [region, link] = part.includes("=") ? (part.split("=", 2) as [string, string]) : [undefined, part];
    if (!isLink(link) || region === "")
      throw new WarrenError(
        "WARREN_INVALID_INPUT",
        `${LINK_SETTING}=${text} is unknown: unset it, or set it to tun or userspace, or for regions to REGION=LINK,….`,
        { path: LINK_SETTING },
      );
    if (region === undefined) all = link;
    else regions.set(region, link);
  }
  return { ...(all === undefined ? {} : { all }), regions };
}

/** Milliseconds after which a machine without the link `tun` is looked at again. */
const LOOK_AGAIN = 60_000;

export class LinkChoice {
  /** Why link `tun` does not work here; "": it does. */
  private lack: string | undefined;
  private lookedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param check resolves where link `tun` works, and rejects with what is missing.
   * @param onLack told each time that a look finds another lack.
   */
  constructor(
    private readonly setting: LinkSetting,
    private readonly check: () => Promise<void>,
    private readonly onLack: (reason: string) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** What a person said, for apps of a region. */
  forced(region: string): LinkKind | undefined {
    return this.setting.regions.get(region) ?? this.setting.all;
  }

  /** The best link of this machine; a lack is looked at again once a minute. */
  async best(): Promise<LinkKind> {
    if (this.setting.all !== undefined) return this.setting.all;
    if (this.lack !== "" && this.now() - this.lookedAt >= LOOK_AGAIN) {
      this.lookedAt = this.now();
      const before = this.lack;
      this.lack = await this.check().then(
        () => "",
        (error: Error) => error.message,
      );
      if (this.lack !== "" && this.lack !== before) this.onLack(this.lack);
    }
    return this.lack === "" ? "tun" : "userspace";
  }

  /** For people: the link, and why it is not `tun`. */
  get current(): { readonly link: LinkKind; readonly reason?: string } {
    if (this.setting.all === "tun" || (this.setting.all === undefined && !this.lack)) return { link: "tun" };
    return {
      link: "userspace",
      reason: this.setting.all ? `${LINK_SETTING}=${this.setting.all}` : (this.lack as string),
    };
  }
}
