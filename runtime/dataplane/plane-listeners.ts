/** Who listens to a data plane: events, and questions to its DNS addresses. */
import type { DataPlaneEvent, DnsHandler, DnsQuery } from "./config";

export class PlaneListeners {
  private readonly listeners = new Set<(event: DataPlaneEvent) => void>();
  private dnsHandler: DnsHandler | undefined;

  constructor(private readonly log: (message: string) => void) {}

  onDns(handler: DnsHandler): void {
    this.dnsHandler = handler;
  }

  onEvent(listener: (event: DataPlaneEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  emit(event: DataPlaneEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  /** @returns undefined where the question stays unanswered */
  async answer(query: DnsQuery): Promise<Uint8Array | undefined> {
    try {
      return await this.dnsHandler?.(query);
    } catch (error) {
      this.log(`A DNS question of ${query.from} was not answered: ${(error as Error).message}`);
      return undefined;
    }
  }
}
