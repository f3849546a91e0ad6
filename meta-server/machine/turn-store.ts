import type { StateStore } from "../storage/state-store.ts";
import { PREFIX_BYTES } from "./local-keys.ts";

/** With more keys than this applied and not yet written, the store is full: no further turn is applied. */
const WAITING_KEYS_MAX = 200_000;
const PAGE_PAIRS = 1_000;

type Page = readonly (readonly [string, Uint8Array])[];

/** The store as the machine uses it: puts are collected into turns and can be read at once. */
export class TurnStore {
  readonly #store: StateStore;
  #turn = new Map<string, Uint8Array | undefined>();

  constructor(store: StateStore) {
    this.#store = store;
  }

  get(key: string): Uint8Array | undefined {
    if (this.#turn.size === 0) return this.#store.get(key);
    return this.#turn.get(key) ?? (this.#turn.has(key) ? undefined : this.#store.get(key));
  }

  /** Only between turns: does not see the puts of the current one. */
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.#store.getMany(keys);
  }

  put(key: string, value: Uint8Array | undefined): void {
    this.#turn.set(key, value);
  }

  /** `done` is called when the turn is on the disk. */
  endTurn(done: (error?: Error) => void): void {
    const turn = this.#turn;
    this.#turn = new Map();
    this.#store.write(turn, done);
  }

  get full(): boolean {
    return this.#store.waitingCount > WAITING_KEYS_MAX;
  }

  flush(): Promise<void> {
    return this.#store.flush();
  }

  range(from: string, to: string, limit: number): Promise<Page> {
    return this.#store.range(from, to, limit);
  }

  /** All pairs whose key begins with `prefix`, after the key `after`. Each page is read at its own moment. */
  async *pages(prefix: string, after?: string): AsyncGenerator<Page> {
    const to = afterPrefix(prefix);
    let from = after === undefined ? prefix : `${after}\0`;
    for (;;) {
      const page = await this.#store.range(from, to, PAGE_PAIRS);
      if (page.length > 0) yield page;
      if (page.length < PAGE_PAIRS) return;
      from = `${page.at(-1)![0]}\0`;
    }
  }

  snapshot(): ReturnType<StateStore["snapshot"]> {
    return this.#store.snapshot();
  }

  async replace(fill: Parameters<StateStore["replace"]>[0]): Promise<void> {
    await this.#store.replace(fill);
    this.#turn.clear();
  }

  /** Deletes keys that nothing reads, outside of any turn. Resolves when that is on the disk. */
  discard(keys: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const writes = keys.map((key) => [key, undefined] as const);
      this.#store.write(writes, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** The first key after all keys that begin with `prefix`. */
export function afterPrefix(prefix: string): string {
  let end = prefix.length;
  while (end > 0 && prefix.charCodeAt(end - 1) === 0xff) end -= 1;
  return end === 0
    ? "\xff".repeat(PREFIX_BYTES * 8)
    : prefix.slice(0, end - 1) + String.fromCharCode(prefix.charCodeAt(end - 1) + 1);
}
