import { BLOCK_BYTES } from "../../../core/ids.ts";

/** From this size on a buffer is shared memory: the thread of the object stores uploads it without a copy. */
const SHARED_FROM_BYTES = 256 * 1024;
const SIZES = [4096, 64 * 1024, SHARED_FROM_BYTES, BLOCK_BYTES] as const;
const POOL_MAX = 48;

const pool: SharedArrayBuffer[] = [];

/**
 * A buffer for at least `bytes` of a block. There are four sizes, so that a growing block is copied three times at
 * most.
 */
export function takeBuffer(bytes: number): Uint8Array {
  const size = SIZES.find((each) => each >= bytes) ?? BLOCK_BYTES;
  if (size < SHARED_FROM_BYTES) return new Uint8Array(size);
  // The pages of a pooled buffer are mapped already; a new one costs a page fault for each 4 KiB.
  const shared = size === BLOCK_BYTES ? (pool.pop() ?? new SharedArrayBuffer(size)) : new SharedArrayBuffer(size);
  return new Uint8Array(shared);
}

/** Returns a buffer that is no longer in use. */
export function giveBuffer(buffer: Uint8Array): void {
  if (
    buffer.buffer instanceof SharedArrayBuffer &&
    buffer.buffer.byteLength === BLOCK_BYTES &&
    pool.length < POOL_MAX
  ) {
    pool.push(buffer.buffer);
  }
}
