/** Waiting for something to become true in a process that says when anything has changed. */

export class Changes {
  private readonly listeners = new Set<() => void>();

  notify(): void {
    for (const listener of [...this.listeners]) listener();
  }

  /** @returns the way to stop listening */
  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** True as soon as `test` holds; else what it says when the wait is over or the signal fires. */
  until(test: () => boolean, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    if (test() || waitMs <= 0 || signal?.aborted) return Promise.resolve(test());
    return new Promise((resolve, reject) => {
      const end = () => {
        this.listeners.delete(listener);
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        try {
          resolve(test());
        } catch (error) {
          reject(error);
        }
      };
      const listener = () => {
        let holds = true;
        try {
          holds = test();
        } catch {
          // `end` asks again and passes it on.
        }
        if (holds) end();
      };
      const timer = setTimeout(end, waitMs);
      signal?.addEventListener("abort", end, { once: true });
      this.listeners.add(listener);
    });
  }
}
