import { LRUCache } from "lru-cache";
import type { Slice } from "../../../core/commands.ts";
import { BLOCK_BYTES, type SliceId } from "../../../core/ids.ts";
import { giveBuffer, takeBuffer } from "./block-buffers.ts";
import type { BlockService } from "./block-service.ts";
import { MemoryBlock, type Pins } from "./pins.ts";
import type { ReadAnswer, ReadFailure } from "./protocol.ts";

export interface BlockCacheEvents {
  /** The own bucket lacks it. */
  onWanted(slice: SliceId): void;
  onCorrupt(slice: SliceId, index: number, answer: ReadAnswer): void;
}

interface Fetch {
  readonly done: Promise<Uint8Array | ReadFailure>;
  readonly waiting: Pins[];
}

/** From here on a block is read into a buffer that is used again: new ones of that size keep the garbage collector busy. */
const REUSED_FROM_BYTES = 1024 * 1024;

/** Blocks in memory, whole and verified; one fetch of a block at a time, however many wait for it. */
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

  /** A block that is at hand is returned as it is; a failure is a word. The bytes stay what they are while `pins` holds them. */
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

  /** Fetches it where it is not here yet; nobody waits. */
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
      if (answer.wanted) this.#events.onWanted(slice.id);
      if (answer.corruptIn.length > 0) this.#events.onCorrupt(slice.id, index, answer);
      if (answer.failure !== undefined) {
        if (into !== undefined) giveBuffer(into);
        return answer.failure;
      }
      const block = new MemoryBlock(into ?? answer.data!);
      // Pinned before it can be evicted.
      for (const pins of waiting) pins.add(block);
      this.#blocks.set(key, block);
      return block.data;
    });
    const fetch = { done, waiting };
    this.#fetching.set(key, fetch);
    return fetch;
  }
}

/** Bytes of one block of a slice: all are full but the last. */
function blockBytes(slice: Slice, index: number): number {
  return Math.min(BLOCK_BYTES, slice.bytes - index * BLOCK_BYTES);
}
