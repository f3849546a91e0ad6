import type { SliceId } from "../core/ids.ts";

/** Key of a block. `index` in the slice, from 0; `bytes` of this block, at most BLOCK_BYTES. A block never changes. */
export function blockKey(block: { volume: string; slice: SliceId; index: number; bytes: number }): string {
  return `${slicePrefix(block.volume, block.slice)}${block.index}-${block.bytes}`;
}

/** The common prefix of the keys of a slice's blocks, and of no other key. */
export function slicePrefix(volume: string, slice: SliceId): string {
  const bucket = (slice % 256).toString(16).padStart(2, "0");
  return `${volume}/blocks/${bucket}/${slice}/`;
}

/** Key of the bucket's marker (marker.ts). */
export function markerKey(volume: string): string {
  return `${volume}/mirrorfs.json`;
}
