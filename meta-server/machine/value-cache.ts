/** Roughly what a Map's entry, a key and a small buffer take beside the bytes themselves. */
const ENTRY_BYTES = 150;

export const ABSENT: unique symbol = Symbol("absent");
export type Cached = Uint8Array | typeof ABSENT;

/**
 * What is read or written often, within a bound of bytes. Two generations, which is an LRU at the price of a Map look-up:
 * what is used moves to the young one; when that is full it becomes the old one.
 */
export class ValueCache {
  readonly #generationBytesMax: number;
  #young = new Map<string, Cached>();
  #old = new Map<string, Cached>();
  #youngBytes = 0;

  constructor(bytesMax: number) {
    this.#generationBytesMax = bytesMax / 2;
  }

  get(key: string): Cached | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: Cached): void {
    this.#youngBytes += ENTRY_BYTES + key.length + (value === ABSENT ? 0 : value.length);
    this.#young.set(key, value);
    if (this.#youngBytes <= this.#generationBytesMax) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngBytes = 0;
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
  }
}
