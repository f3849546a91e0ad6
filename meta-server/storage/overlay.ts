/**
 * Puts (a value) and deletes (undefined) by key, in the order in which the keys were first written. Keys are latin1 strings.
 */
export type Writes = Map<string, Uint8Array | undefined>;

/**
 * What was written to a store and is not on its disk yet: the turns that wait, and those that are being synced. Waiting turns
 * take precedence over those being synced, and both over the disk.
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

  /** `null`: not written here, read the disk. `undefined`: deleted. */
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

  /** Turns the waiting writes into those being synced, and returns them. */
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

  /** The writes to keys in [from, to), in the order of the keys. */
  within(from: string, to: string): [string, Uint8Array | undefined][] {
    const found: Writes = new Map();
    for (const writes of [this.#syncing, this.#waiting]) {
      for (const [key, value] of writes) if (key >= from && key < to) found.set(key, value);
    }
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
