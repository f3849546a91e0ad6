import type { ByteString } from "../../core/ids.ts";
import { Tree } from "../../core/tree.ts";
import { generationPrefix } from "./local-keys.ts";
import { afterPrefix, type TurnStore } from "./turn-store.ts";

type Pair = readonly [ByteString, Uint8Array];

/**
 * One generation of the volume: its tree, and its pairs in the order of their keys. Keys are core's, without the generation's
 * prefix.
 */
export class VolumeView {
  readonly tree: Tree;
  readonly #store: TurnStore;
  readonly #prefix: string;

  constructor(store: TurnStore, generation: number) {
    this.#store = store;
    this.#prefix = generationPrefix(generation);
    this.tree = new Tree({ get: (key) => store.get(this.#prefix + key) });
  }

  put(key: string, value: Uint8Array | undefined): void {
    this.#store.put(this.#prefix + key, value);
  }

  /** Reads many keys at once, off the main thread and past the cache: the values at the moment of the answer. */
  readMany(keys: readonly ByteString[]): Promise<(Uint8Array | undefined)[]> {
    return this.#store.getMany(keys.map((key) => this.#prefix + key));
  }

  /** Up to `limit` pairs whose key begins with `prefix`, after the key `after`. */
  async range(prefix: string, after: string | undefined, limit: number): Promise<Pair[]> {
    const from = this.#prefix + (after === undefined ? prefix : `${after}\0`);
    return this.#plain(await this.#store.range(from, afterPrefix(this.#prefix + prefix), limit));
  }

  /** All pairs whose key begins with `prefix`, page by page. Each page is read at its own moment. */
  async *pages(prefix: string): AsyncGenerator<Pair[]> {
    for await (const page of this.#store.pages(this.#prefix + prefix)) yield this.#plain(page);
  }

  #plain(page: readonly (readonly [string, Uint8Array])[]): Pair[] {
    return page.map(([key, value]) => [key.slice(this.#prefix.length) as ByteString, value]);
  }
}
