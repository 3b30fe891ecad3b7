/** What the registry's functions share. */
import { WarrenError } from "../../errors";
import type { Database } from "./database";

export interface Scope {
  readonly db: Database;
  readonly registryId: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * An object that Pulumi's state knows and this registry lacks is made again only where it was lost, not where it never was.
 * @throws WarrenError WARREN_FOREIGN_REGISTRY
 */
export function refuseForeignRegistry(scope: Scope, known: string, adopt: string | undefined, what: string): void {
  if (known === scope.registryId || adopt === known) return;
  throw new WarrenError(
    "WARREN_FOREIGN_REGISTRY",
    `The state of ${what} belongs to registry ${known}, and this is registry ${scope.registryId}: run where that registry is, or rebuild everything here with \`pulumi config set warren:adopt ${known}\`.`,
    { path: "registryId" },
  );
}
