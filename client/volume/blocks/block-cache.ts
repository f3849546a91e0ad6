import { LRUCache } from "lru-cache";
import type { Slice } from "../../../core/commands.ts";
import { BLOCK_BYTES, type SliceId } from "../../../core/ids.ts";
import { giveBuffer, takeBuffer } from "./block-buffers.ts";
import type { BlockService } from "./block-service.ts";
import { MemoryBlock, type Pins } from "./pins.ts";
import type { ReadAnswer, ReadFailure } from "./protocol.ts";

export interface BlockCacheEvents {
  /** The bucket of the mount's region lacks a block of the slice. */
  onMissing(slice: SliceId): void;
  onCorrupt(slice: SliceId, index: number, answer: ReadAnswer): void;
}

interface Fetch {
  readonly done: Promise<Uint8Array | ReadFailure>;
  readonly waiting: Pins[];
}

/** From this size on a block is read into a pooled buffer: new buffers of that size keep the garbage collector busy. */
const REUSED_FROM_BYTES = 1024 * 1024;

/** Whole, verified blocks in memory. A block is fetched once at a time, for all readers that wait for it. */
export class BlockCache {
  readonly #service: BlockService;
  readonly #events: BlockCacheEvents;
  readonly #timeoutMs: number;
  readonly #blocks: LRUCache<string, MemoryBlock>;
  readonly #fetching = new Map<string, Fetch>();

  constructor(
    service: BlockService,
    options: { readonly bytesMax: number; readonly timeoutMs: number; readonly events: BlockCacheEvents },
  ) {
    this.#service = service;
    this.#events = options.events;
    this.#timeoutMs = options.timeoutMs;
    this.#blocks = new LRUCache({
      maxSize: options.bytesMax,
      sizeCalculation: ({ data }) => Math.max(1, data.buffer.byteLength),
      dispose: (block) => block.evict(),
    });
  }

  /** A cached block is returned without a promise. The bytes are valid while `pins` holds them. */
  get(slice: Slice, index: number, pins: Pins): Uint8Array | Promise<Uint8Array | ReadFailure> {
    const key = `${slice.id}/${index}`;
    const block = this.#blocks.get(key);
    if (block !== undefined) {
      pins.add(block);
      return block.data;
    }
    const fetch = this.#fetching.get(key) ?? this.#fetch(key, slice, index);
    fetch.waiting.push(pins);
    return fetch.done;
  }

  /** Fetches a block that is not cached. */
  prefetch(slice: Slice, index: number): void {
    const key = `${slice.id}/${index}`;
    if (!this.#blocks.has(key) && !this.#fetching.has(key)) this.#fetch(key, slice, index);
  }

  #fetch(key: string, slice: Slice, index: number): Fetch {
    const bytes = blockBytes(slice, index);
    const into = bytes >= REUSED_FROM_BYTES ? takeBuffer(BLOCK_BYTES).subarray(0, bytes) : undefined;
    const waiting: Pins[] = [];
    const reading = this.#service.read({
      slice: slice.id,
      index,
      bytes,
      crc32c: slice.crc32c[index]!,
      home: slice.home,
      timeoutMs: this.#timeoutMs,
      into,
    });
    const done = reading.then((answer) => {
      this.#fetching.delete(key);
      if (answer.missingInOwn) this.#events.onMissing(slice.id);
      if (answer.corruptIn.length > 0) this.#events.onCorrupt(slice.id, index, answer);
      if (answer.failure !== undefined) {
        if (into !== undefined) giveBuffer(into);
        return answer.failure;
      }
      const block = new MemoryBlock(into ?? answer.data!);
      // Pin it before it can be evicted.
      for (const pins of waiting) pins.add(block);
      this.#blocks.set(key, block);
      return block.data;
    });
    const fetch = { done, waiting };
    this.#fetching.set(key, fetch);
    return fetch;
  }
}

/** Length of one block of a slice: all blocks but the last are full. */
function blockBytes(slice: Slice, index: number): number {
  return Math.min(BLOCK_BYTES, slice.bytes - index * BLOCK_BYTES);
}
