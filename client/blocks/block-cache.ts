import { LRUCache } from "lru-cache";
import type { Slice } from "../../core/commands.ts";
import { BLOCK_BYTES, type SliceId } from "../../core/ids.ts";
import type { BlockService } from "./block-service.ts";
import type { ReadAnswer, ReadFailure } from "./protocol.ts";

export interface BlockCacheEvents {
  /** The own bucket lacks it. */
  onWanted(slice: SliceId): void;
  onCorrupt(slice: SliceId, index: number, answer: ReadAnswer): void;
}

/** Blocks in memory, whole and verified; one fetch of a block at a time, however many wait for it. */
export class BlockCache {
  readonly #service: BlockService;
  readonly #events: BlockCacheEvents;
  readonly #timeoutMs: number;
  readonly #blocks: LRUCache<string, Uint8Array>;
  readonly #fetching = new Map<string, Promise<Uint8Array | ReadFailure>>();

  constructor(
    service: BlockService,
    options: { readonly bytesMax: number; readonly timeoutMs: number; readonly events: BlockCacheEvents },
  ) {
    this.#service = service;
    this.#events = options.events;
    this.#timeoutMs = options.timeoutMs;
    this.#blocks = new LRUCache({ maxSize: options.bytesMax, sizeCalculation: (data) => Math.max(1, data.byteLength) });
  }

  /** A block that is at hand is returned as it is; a failure is a word. */
  get(slice: Slice, index: number): Uint8Array | Promise<Uint8Array | ReadFailure> {
    const key = `${slice.id}/${index}`;
    return this.#blocks.get(key) ?? this.#fetching.get(key) ?? this.#fetch(key, slice, index);
  }

  /** Fetches it where it is not here yet; nobody waits. */
  prefetch(slice: Slice, index: number): void {
    const key = `${slice.id}/${index}`;
    if (!this.#blocks.has(key) && !this.#fetching.has(key)) void this.#fetch(key, slice, index);
  }

  #fetch(key: string, slice: Slice, index: number): Promise<Uint8Array | ReadFailure> {
    const fetching = this.#service
      .read({
        slice: slice.id,
        index,
        bytes: blockBytes(slice, index),
        crc32c: slice.crc32c[index]!,
        home: slice.home,
        timeoutMs: this.#timeoutMs,
      })
      .then((answer) => {
        this.#fetching.delete(key);
        if (answer.wanted) this.#events.onWanted(slice.id);
        if (answer.corruptIn.length > 0) this.#events.onCorrupt(slice.id, index, answer);
        if (answer.data === undefined) return answer.failure ?? "unreachable";
        this.#blocks.set(key, answer.data);
        return answer.data;
      });
    this.#fetching.set(key, fetching);
    return fetching;
  }
}

/** Bytes of one block of a slice: all are full but the last. */
export function blockBytes(slice: Slice, index: number): number {
  return Math.min(BLOCK_BYTES, slice.bytes - index * BLOCK_BYTES);
}
