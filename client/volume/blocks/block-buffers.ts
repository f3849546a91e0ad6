import { BLOCK_BYTES } from "../../../core/ids.ts";

/** From here on a buffer is shared memory: the thread that uploads it reads it where it lies. */
const SHARED_FROM_BYTES = 256 * 1024;
const SIZES = [4096, 64 * 1024, SHARED_FROM_BYTES, BLOCK_BYTES] as const;
const POOL_MAX = 48;

const pool: SharedArrayBuffer[] = [];

/** A buffer for at least `bytes` of a block, in steps, so that one that grows is copied three times at most. */
export function takeBuffer(bytes: number): Uint8Array {
  const size = SIZES.find((each) => each >= bytes) ?? BLOCK_BYTES;
  if (size < SHARED_FROM_BYTES) return new Uint8Array(size);
  // A pooled one has its pages already; new ones cost a fault for each 4 KiB.
  const shared = size === BLOCK_BYTES ? (pool.pop() ?? new SharedArrayBuffer(size)) : new SharedArrayBuffer(size);
  return new Uint8Array(shared);
}

/** Gives a buffer back that nobody looks at any more. */
export function giveBuffer(buffer: Uint8Array): void {
  if (
    buffer.buffer instanceof SharedArrayBuffer &&
    buffer.buffer.byteLength === BLOCK_BYTES &&
    pool.length < POOL_MAX
  ) {
    pool.push(buffer.buffer);
  }
}
