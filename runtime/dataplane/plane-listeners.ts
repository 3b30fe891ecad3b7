/** Who listens to a data plane: events, and questions to its DNS addresses. */
import type { DataPlaneEvent, DnsHandler, DnsQuery, KeepAnswer, OwnNames } from "./config";

export class PlaneListeners {
  private readonly listeners = new Set<(event: DataPlaneEvent) => void>();
  private readonly generationListeners = new Set<(generation: number) => void>();
  private dnsHandler: DnsHandler | undefined;
  private names: OwnNames | undefined;

  constructor(private readonly log: (message: string) => void) {}

  onDns(handler: DnsHandler, names?: OwnNames): void {
    this.dnsHandler = handler;
    this.names = names;
    const tell = (): void => {
      for (const listener of this.generationListeners) listener(names!.generation);
    };
    if (names === undefined) return;
    names.onChange(tell);
    tell();
  }

  /** Calls back with the generation of names whose answers may be kept, at once where there are some. @returns the way to stop */
  onGeneration(listener: (generation: number) => void): () => void {
    this.generationListeners.add(listener);
    if (this.names !== undefined) listener(this.names.generation);
    return () => this.generationListeners.delete(listener);
  }

  onEvent(listener: (event: DataPlaneEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  emit(event: DataPlaneEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  /** @returns undefined where the question stays unanswered */
  async answer(query: DnsQuery): Promise<{ message: Uint8Array; keep?: KeepAnswer } | undefined> {
    try {
      const own = this.names?.answer(query);
      if (own !== undefined) return own;
      const message = await this.dnsHandler?.(query);
      return message && { message };
    } catch (error) {
      this.log(`A DNS question of ${query.from} was not answered: ${(error as Error).message}`);
      return undefined;
    }
  }
}
