import pLimit from "p-limit";
import type { Logger } from "pino";
import { pause, spreadMs } from "../base/waiting.ts";
import type { Slice } from "../core/commands.ts";
import type { SliceId } from "../core/ids.ts";
import { slicePrefix } from "../object-store/layout.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { createTokenBucket } from "./budget.ts";
import { messageOf } from "./reachability.ts";
import { blocksOf } from "./verify.ts";

export interface CollectorOptions {
  readonly volume: string;
  readonly own: ObjectStore;
  /** Slices that may be deleted, in the order of their ids, above `after`. @throws when the metadata does not answer. */
  readonly list: (after: SliceId, limit: number) => Promise<readonly Slice[]>;
  readonly collected: (slices: readonly SliceId[]) => Promise<void>;
  /** Ranges of slice ids above `after` that no command used or ever will: blocks that an upload left under them are garbage. */
  readonly listRevoked: (after: number, limit: number) => Promise<readonly { first: number; count: number }[]>;
  readonly swept: (firsts: readonly number[]) => Promise<void>;
  /**
   * A test of whether a copy of a slice may be running or waiting in this region; such a slice is left for the next round.
   * @throws when the queue does not answer.
   */
  readonly busy: () => Promise<(slice: SliceId) => boolean>;
  readonly logger: Logger;
  readonly intervalMs?: number;
  readonly deletesPerSecond?: number;
}

const PAGE_SLICES = 256;
const PAGE_RANGES = 64;
const DELETES_AT_ONCE = 16;

/**
 * Deletes the blocks of garbage slices from the own bucket, and reports them. The metadata alone decides what is garbage, never
 * a listing of the bucket. A slice whose deletion fails is not reported: the next round tries it again.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #stop = new AbortController();
  readonly #throttle: (tokens: number, signal?: AbortSignal) => Promise<void>;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#throttle = createTokenBucket(options.deletesPerSecond ?? 200);
  }

  start(): void {
    void this.#run();
  }

  /** No block is deleted after this call, but for requests that are under way. */
  close(): void {
    this.#stop.abort(new Error("closed"));
  }

  async #run(): Promise<void> {
    const intervalMs = this.#options.intervalMs ?? 15_000;
    while (!this.#stop.signal.aborted) {
      try {
        const slices = await this.round();
        if (slices > 0) this.#options.logger.info({ slices }, "garbage deleted");
        const uploads = await this.sweep();
        if (uploads > 0) this.#options.logger.info({ blocks: uploads }, "blocks of abandoned uploads deleted");
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#options.logger.warn({ reason: messageOf(error) }, "garbage is left for the next round");
      }
      await pause(spreadMs(intervalMs), this.#stop);
    }
  }

  /** One walk over all garbage. @returns the number of slices deleted. */
  async round(): Promise<number> {
    let after = 0 as SliceId;
    let total = 0;
    for (;;) {
      const page = await this.#options.list(after, PAGE_SLICES);
      if (page.length === 0) return total;
      const busy = await this.#options.busy();
      const limit = pLimit(DELETES_AT_ONCE);
      const deleted = await Promise.all(
        page.filter((slice) => !busy(slice.id)).map((slice) => limit(() => this.#delete(slice))),
      );
      const collected = deleted.filter((id) => id !== undefined);
      if (collected.length > 0) await this.#options.collected(collected);
      total += collected.length;
      after = page.at(-1)!.id;
    }
  }

  /** One walk over all revoked ids. @returns the number of blocks deleted. */
  async sweep(): Promise<number> {
    let after = 0;
    let total = 0;
    for (;;) {
      const page = await this.#options.listRevoked(after, PAGE_RANGES);
      for (const { first, count } of page) {
        const limit = pLimit(DELETES_AT_ONCE);
        const ids = Array.from({ length: count }, (_, at) => (first + at) as SliceId);
        const blocks = await limit.map(ids, (id) => this.#sweepOne(id));
        for (const deleted of blocks) total += deleted;
        await this.#options.swept([first]);
      }
      if (page.length === 0) return total;
      after = page.at(-1)!.first;
    }
  }

  async #sweepOne(id: SliceId): Promise<number> {
    const { own, volume } = this.#options;
    const { signal } = this.#stop;
    await this.#throttle(1, signal);
    let deleted = 0;
    for await (const { key } of own.list(slicePrefix(volume, id), { signal })) {
      await own.delete(key, { signal });
      deleted++;
    }
    return deleted;
  }

  async #delete(slice: Slice): Promise<SliceId | undefined> {
    try {
      for (const block of blocksOf(this.#options.volume, slice)) {
        await this.#throttle(1, this.#stop.signal);
        await this.#options.own.delete(block.key, { signal: this.#stop.signal });
      }
      return slice.id;
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      this.#options.logger.warn({ slice: slice.id, reason: messageOf(error) }, "a block could not be deleted");
      return undefined;
    }
  }
}
