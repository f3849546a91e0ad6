/** Puts (a value) and deletes (undefined) by key, in the order of their first mention. Keys are latin1 strings. */
export type Writes = Map<string, Uint8Array | undefined>;

/**
 * What has been written to a store but is not yet on its disk: the turns that wait, and those being synced. The newer
 * covers the older, and both cover the disk.
 */
export class Overlay {
  #waiting: Writes = new Map();
  #syncing: Writes = new Map();

  get waitingCount(): number {
    return this.#waiting.size;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#syncing.size === 0;
  }

  add(writes: Iterable<readonly [string, Uint8Array | undefined]>): void {
    for (const [key, value] of writes) this.#waiting.set(key, value);
  }

  /** `null`: not mentioned here, ask the disk. `undefined`: deleted. */
  get(key: string): Uint8Array | undefined | null {
    if (this.#waiting.size > 0) {
      const value = this.#waiting.get(key);
      if (value !== undefined || this.#waiting.has(key)) return value;
    }
    if (this.#syncing.size > 0) {
      const value = this.#syncing.get(key);
      if (value !== undefined || this.#syncing.has(key)) return value;
    }
    return null;
  }

  /** Those that wait become those being synced. */
  takeWaiting(): Writes {
    this.#syncing = this.#waiting;
    this.#waiting = new Map();
    return this.#syncing;
  }

  synced(): void {
    this.#syncing = new Map();
  }

  clear(): void {
    this.#waiting = new Map();
    this.#syncing = new Map();
  }

  /** The keys in [from, to) that are mentioned here, in order. */
  within(from: string, to: string): [string, Uint8Array | undefined][] {
    const found: Writes = new Map();
    for (const writes of [this.#syncing, this.#waiting]) {
      for (const [key, value] of writes) if (key >= from && key < to) found.set(key, value);
    }
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
