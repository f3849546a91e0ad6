import { crc32c } from "../../../base/crc32c.ts";
import { backoffMs, pause } from "../../../base/waiting.ts";
import type { RegionIndex } from "../../../core/ids.ts";
import { blockKey } from "../../../object-store/layout.ts";
import type { ObjectStore } from "../../../object-store/object-store.ts";
import { BucketHealth, isAnswer } from "./bucket-health.ts";
import type { DiskCache } from "./disk-cache.ts";
import type { BlockRead, ReadAnswer } from "./protocol.ts";

export interface BlockSource {
  readonly region: RegionIndex;
  readonly store: ObjectStore;
  /** A `file:` bucket, which is on a disk already: its blocks are not cached on disk again. */
  readonly local: boolean;
}

const ATTEMPT_MS = 10_000;
const PAUSE_FIRST_MS = 50;
const PAUSE_MOST_MS = 2000;

interface WatchedSource extends BlockSource {
  readonly health: BucketHealth;
}

type Tried = Uint8Array | "notFound" | "corrupt" | "failed";

/**
 * Reads a block from the disk cache, the bucket of the mount's region, the bucket of the slice's home, or any other.
 * Returns it only if the whole block matches the checksum in the metadata.
 */
export class BlockReader {
  readonly #volume: string;
  readonly #own: RegionIndex;
  readonly #sources: readonly WatchedSource[];
  readonly #cache: DiskCache | undefined;

  constructor(volume: string, own: RegionIndex, sources: readonly BlockSource[], cache: DiskCache | undefined) {
    this.#volume = volume;
    this.#own = own;
    this.#sources = sources.map((source) => ({ ...source, health: new BucketHealth(source.store) }));
    this.#cache = cache;
  }

  /**
   * "unreachable" after `timeoutMs`, and at once while the buckets that may have the block have been out of reach for so
   * long.
   */
  async read(block: BlockRead): Promise<ReadAnswer> {
    const cached = await this.#cache?.get(block);
    if (cached !== undefined) return { data: placed(cached, block), missingInOwn: false, corruptIn: [], from: "disk" };
    const deadlineMs = performance.now() + block.timeoutMs;
    let missingInOwn = false;
    const corruptIn = new Set<RegionIndex>();
    for (let attempt = 0; ; attempt++) {
      let unanswered = 0;
      let worthWaiting = false;
      for (const source of this.#order(block.home)) {
        const isDown = () => source.health.isDownFor(block.timeoutMs);
        const tried = isDown() ? "failed" : await this.#try(source, block, deadlineMs);
        if (tried instanceof Uint8Array) {
          if (!source.local) void this.#cache?.put(block, tried);
          return { data: placed(tried, block), missingInOwn, corruptIn: [...corruptIn], from: source.region };
        }
        if (tried === "failed") worthWaiting ||= !isDown();
        if (tried === "failed") unanswered += 1;
        else if (tried === "corrupt") corruptIn.add(source.region);
        else if (source.region === this.#own) missingInOwn = true;
      }
      const answer = { missingInOwn, corruptIn: [...corruptIn], from: undefined };
      if (unanswered === 0) return { ...answer, failure: corruptIn.size > 0 ? "corrupt" : "missing" };
      const pauseMs = backoffMs(attempt, PAUSE_FIRST_MS, PAUSE_MOST_MS);
      if (!worthWaiting || performance.now() + pauseMs > deadlineMs) return { ...answer, failure: "unreachable" };
      await pause(pauseMs);
    }
  }

  /** The own bucket, the home, the others; those that failed last time come last, so that they do not delay every block. */
  #order(home: RegionIndex): readonly WatchedSource[] {
    const rank = ({ region, health }: WatchedSource): number => {
      const distance = region === this.#own ? 0 : region === home ? 1 : 2;
      return health.failing ? distance + 3 : distance;
    };
    return [...this.#sources].sort((a, b) => rank(a) - rank(b));
  }

  async #try({ store, health }: WatchedSource, block: BlockRead, deadlineMs: number): Promise<Tried> {
    const key = blockKey({ volume: this.#volume, slice: block.slice, index: block.index, bytes: block.bytes });
    const leftMs = Math.max(1, Math.min(ATTEMPT_MS, Math.ceil(deadlineMs - performance.now())));
    try {
      const data = await store.read(key, { into: block.into, signal: AbortSignal.timeout(leftMs) });
      health.answered();
      return data.length === block.bytes && crc32c(data) === block.crc32c ? data : "corrupt";
    } catch (error) {
      if (!isAnswer(error)) {
        health.failed(key);
        return "failed";
      }
      health.answered();
      return error.code;
    }
  }
}

/** Copies verified bytes into the requester's buffer; answers them when the requester gave none. */
function placed(data: Uint8Array, { into }: BlockRead): Uint8Array | undefined {
  if (into === undefined) return data;
  if (data.buffer !== into.buffer) into.set(data);
  return undefined;
}
