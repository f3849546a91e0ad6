import { crc32c } from "../base/crc32c.ts";
import type { Slice } from "../core/commands.ts";
import { BLOCK_BYTES } from "../core/ids.ts";
import { blockKey } from "../object-store/layout.ts";
import { type ObjectStore, ObjectStoreError } from "../object-store/object-store.ts";

/** One block of a slice, as the metadata records it. */
export interface Block {
  readonly key: string;
  readonly index: number;
  readonly bytes: number;
  readonly crc32c: number;
}

/** All blocks of a slice: their names and checksums follow from the slice's record alone. */
export function blocksOf(volume: string, slice: Slice): Block[] {
  return slice.crc32c.map((crc, index) => {
    const bytes = Math.min(BLOCK_BYTES, slice.bytes - index * BLOCK_BYTES);
    return { key: blockKey({ volume, slice: slice.id, index, bytes }), index, bytes, crc32c: crc };
  });
}

/** Checks length and checksum of a block that was read. @throws ObjectStoreError `corrupt`. */
export function verifyBody(block: Block, body: Uint8Array, store: ObjectStore): void {
  if (body.length !== block.bytes)
    throw new ObjectStoreError("corrupt", `${store.url} ${block.key}: ${body.length} bytes instead of ${block.bytes}`);
  if (crc32c(body) !== block.crc32c)
    throw new ObjectStoreError("corrupt", `${store.url} ${block.key}: the checksum differs from the metadata's`);
}

/**
 * Whether a bucket holds a block. Reads the block only if the service states no checksum of it.
 * @returns `other` for an object of that name with different or damaged content.
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
