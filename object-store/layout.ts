import type { SliceId } from "../core/ids.ts";

/** Key of a block: immutable, so the key says all. `index` from 0; `bytes` of this block (at most BLOCK_BYTES). */
export function blockKey(block: { volume: string; slice: SliceId; index: number; bytes: number }): string {
  return `${slicePrefix(block.volume, block.slice)}${block.index}-${block.bytes}`;
}

/** What the keys of a slice's blocks, and no others, begin with. */
export function slicePrefix(volume: string, slice: SliceId): string {
  const bucket = (slice % 256).toString(16).padStart(2, "0");
  return `${volume}/blocks/${bucket}/${slice}/`;
}

/** Key of the marker that says whose bucket this is: JSON `{uuid, region}`. */
export function markerKey(volume: string): string {
  return `${volume}/mirrorfs.json`;
}
