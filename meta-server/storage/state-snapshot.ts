import type { StorageError } from "../../consensus/storage-error.ts";
import type { Level } from "./level.ts";
import { fromLevelKey } from "./state-keys.ts";

/** How many pairs are read at once. */
const PAGE_PAIRS = 1000;

/** The whole store as it was when this snapshot was made, in the order of its keys. Release it after reading. */
export class StateSnapshot {
  readonly #level: Level;
  readonly #failed: (error: unknown) => StorageError;
  readonly #snapshot: ReturnType<Level["snapshot"]>;

  constructor(level: Level, failed: (error: unknown) => StorageError) {
    this.#level = level;
    this.#failed = failed;
    this.#snapshot = level.snapshot();
  }

  /** Pages of pairs, from the key `from` on, included. */
  async *pages(from = ""): AsyncGenerator<[string, Uint8Array][]> {
    const iterator = this.#level.iterator({ gte: Buffer.from(from, "latin1"), snapshot: this.#snapshot });
    try {
      for (let page = await iterator.nextv(PAGE_PAIRS); page.length > 0; page = await iterator.nextv(PAGE_PAIRS)) {
        yield page.map(([key, value]: [Uint8Array, Uint8Array]) => [fromLevelKey(key), value]);
      }
    } catch (error) {
      throw this.#failed(error);
    } finally {
      await iterator.close();
    }
  }

  async release(): Promise<void> {
    await this.#snapshot.close();
  }
}
