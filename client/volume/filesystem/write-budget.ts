/** Limits the memory of what is dirty, over all files: writers wait while the budget is used up. */
export class WriteBudget {
  readonly #bytesMax: number;
  readonly #relieve: () => void;
  #used = 0;
  #waiters: (() => void)[] = [];

  /** `relieve`: starts to commit what is dirty. */
  constructor(bytesMax: number, relieve: () => void) {
    this.#bytesMax = bytesMax;
    this.#relieve = relieve;
  }

  get full(): boolean {
    return this.#used >= this.#bytesMax;
  }

  take(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
    if (this.full || this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resume of waiters) resume();
  }

  /** Resolves when there is room again. */
  async room(): Promise<void> {
    while (this.full) {
      this.#relieve();
      await new Promise<void>((resume) => this.#waiters.push(resume));
    }
  }
}
