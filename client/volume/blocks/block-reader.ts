import { crc32c } from "../../../base/crc32c.ts";
import { backoffMs, pause } from "../../../base/waiting.ts";
import type { RegionIndex } from "../../../core/ids.ts";
import { blockKey } from "../../../object-store/layout.ts";
import { type ObjectStore, ObjectStoreError } from "../../../object-store/object-store.ts";
import type { DiskCache } from "./disk-cache.ts";
import type { BlockRead, ReadAnswer } from "./protocol.ts";

export interface BlockSource {
  readonly region: RegionIndex;
  readonly store: ObjectStore;
  /** A `file:` bucket, which is on a disk already: its blocks are not cached on disk again. */
  readonly local: boolean;
}

const ATTEMPT_MS = 10_000;
/** For this long a source that failed is tried last, so that one dead bucket does not delay every block. */
const SUSPECT_MS = 3000;
const PAUSE_FIRST_MS = 50;
const PAUSE_MOST_MS = 2000;

type Tried = Uint8Array | "notFound" | "corrupt" | "failed";

/**
 * Reads a block from the disk cache, the bucket of the mount's region, the bucket of the slice's home, or any other.
 * Returns it only if the whole block matches the checksum in the metadata.
 */
export class BlockReader {
  readonly #volume: string;
  readonly #own: RegionIndex;
  readonly #sources: readonly BlockSource[];
  readonly #cache: DiskCache | undefined;
  readonly #suspectUntilMs = new Map<RegionIndex, number>();

  constructor(volume: string, own: RegionIndex, sources: readonly BlockSource[], cache: DiskCache | undefined) {
    this.#volume = volume;
    this.#own = own;
    this.#sources = sources;
    this.#cache = cache;
  }

  async read(block: BlockRead): Promise<ReadAnswer> {
    const cached = await this.#cache?.get(block);
    if (cached !== undefined) return { data: placed(cached, block), missingInOwn: false, corruptIn: [], from: "disk" };
    const deadlineMs = performance.now() + block.timeoutMs;
    let missingInOwn = false;
    const corruptIn = new Set<RegionIndex>();
    for (let attempt = 0; ; attempt++) {
      let unanswered = 0;
      for (const source of this.#order(block.home)) {
        const tried = await this.#try(source, block, deadlineMs);
        if (tried instanceof Uint8Array) {
          if (!source.local) void this.#cache?.put(block, tried);
          return { data: placed(tried, block), missingInOwn, corruptIn: [...corruptIn], from: source.region };
        }
        if (tried === "failed") unanswered += 1;
        else if (tried === "corrupt") corruptIn.add(source.region);
        else if (source.region === this.#own) missingInOwn = true;
      }
      const answer = { missingInOwn, corruptIn: [...corruptIn], from: undefined };
      if (unanswered === 0) return { ...answer, failure: corruptIn.size > 0 ? "corrupt" : "missing" };
      const pauseMs = backoffMs(attempt, PAUSE_FIRST_MS, PAUSE_MOST_MS);
      if (performance.now() + pauseMs > deadlineMs) return { ...answer, failure: "unreachable" };
      await pause(pauseMs);
    }
  }

  /** The own bucket, the home, the others; sources that failed lately come last. */
  #order(home: RegionIndex): readonly BlockSource[] {
    const now = performance.now();
    const rank = ({ region }: BlockSource): number => {
      const distance = region === this.#own ? 0 : region === home ? 1 : 2;
      return (this.#suspectUntilMs.get(region) ?? 0) > now ? distance + 3 : distance;
    };
    return [...this.#sources].sort((a, b) => rank(a) - rank(b));
  }

  async #try(source: BlockSource, block: BlockRead, deadlineMs: number): Promise<Tried> {
    const key = blockKey({ volume: this.#volume, slice: block.slice, index: block.index, bytes: block.bytes });
    const leftMs = Math.max(1, Math.min(ATTEMPT_MS, Math.ceil(deadlineMs - performance.now())));
    try {
      const data = await source.store.read(key, { into: block.into, signal: AbortSignal.timeout(leftMs) });
      return data.length === block.bytes && crc32c(data) === block.crc32c ? data : "corrupt";
    } catch (error) {
      if (error instanceof ObjectStoreError && error.code === "notFound") return "notFound";
      if (error instanceof ObjectStoreError && error.code === "corrupt") return "corrupt";
      this.#suspectUntilMs.set(source.region, performance.now() + SUSPECT_MS);
      return "failed";
    }
  }
}

/** Copies verified bytes into the requester's buffer; answers them when the requester gave none. */
function placed(data: Uint8Array, { into }: BlockRead): Uint8Array | undefined {
  if (into === undefined) return data;
  if (data.buffer !== into.buffer) into.set(data);
  return undefined;
}
