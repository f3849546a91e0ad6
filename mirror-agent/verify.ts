import { crc32c } from "../base/crc32c.ts";
import type { Slice } from "../core/commands.ts";
import { BLOCK_BYTES } from "../core/ids.ts";
import { blockKey } from "../object-store/layout.ts";
import { type ObjectStore, ObjectStoreError } from "../object-store/object-store.ts";

/** One block of a slice, as the metadata knows it. */
export interface Block {
  readonly key: string;
  readonly index: number;
  readonly bytes: number;
  readonly crc32c: number;
}

/** All blocks of a slice: names and checksums follow from its record alone. */
export function blocksOf(volume: string, slice: Slice): Block[] {
  return slice.crc32c.map((crc, index) => {
    const bytes = Math.min(BLOCK_BYTES, slice.bytes - index * BLOCK_BYTES);
    return { key: blockKey({ volume, slice: slice.id, index, bytes }), index, bytes, crc32c: crc };
  });
}

/** @throws ObjectStoreError `corrupt` when these are not the bytes that were written. */
export function verifyBody(block: Block, body: Uint8Array, store: ObjectStore): void {
  if (body.length !== block.bytes)
    throw new ObjectStoreError("corrupt", `${store.url} ${block.key}: ${body.length} bytes instead of ${block.bytes}`);
  if (crc32c(body) !== block.crc32c)
    throw new ObjectStoreError("corrupt", `${store.url} ${block.key}: the checksum differs from the metadata's`);
}

/**
 * Whether a bucket holds this very block, without reading it where the service states a checksum.
 * `other`: an object of that name that is something else, or broken.
 */
export async function stored(
  store: ObjectStore,
  block: Block,
  signal: AbortSignal,
): Promise<"same" | "absent" | "other"> {
  try {
    const head = await store.head(block.key, { signal });
    if (head === undefined) return "absent";
    const stated = head.crc32c ?? crc32c(await store.read(block.key, { signal }));
    return head.bytes === block.bytes && stated === block.crc32c ? "same" : "other";
  } catch (error) {
    if (error instanceof ObjectStoreError && error.code === "corrupt") return "other";
    throw error;
  }
}
