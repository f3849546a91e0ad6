import { BLOCK_BYTES, CHUNK_BYTES, CHUNK_INLINE_BYTES_MAX, type Inode, type SliceId } from "../ids.ts";
import { inlineBytes, segmentLength, usedBytes } from "../segments.ts";
import type { Report, Snapshot } from "./snapshot.ts";

/** Segments, the slices they refer to, and the number of bytes that each file holds. */
export function checkChunks(state: Snapshot, report: Report): void {
  const references = new Map<SliceId, number>();
  const held = new Map<Inode, number>();
  for (const chunk of state.chunks) {
    checkChunk(state, chunk, report);
    held.set(chunk.inode, (held.get(chunk.inode) ?? 0) + usedBytes(chunk.segments));
    for (const segment of chunk.segments) {
      if (segment.kind === "slice") references.set(segment.slice, (references.get(segment.slice) ?? 0) + 1);
    }
  }
  for (const [inode, attributes] of state.attributes) {
    const bytes = held.get(inode) ?? 0;
    if (attributes.usedBytes !== bytes)
      report(`inode ${inode}: usedBytes is ${attributes.usedBytes}, its chunks hold ${bytes}`);
  }
  for (const [id, slice] of state.slices) {
    const count = references.get(id) ?? 0;
    if (slice.references !== count)
      report(`slice ${id}: references is ${slice.references}, ${count} segments refer to it`);
    if (slice.crc32c.length !== Math.ceil(slice.bytes / BLOCK_BYTES))
      report(`slice ${id}: ${slice.crc32c.length} checksums for ${slice.bytes} bytes`);
  }
}

function checkChunk(state: Snapshot, chunk: Snapshot["chunks"][number], report: Report): void {
  const where = `chunk ${chunk.index} of ${chunk.inode}`;
  const file = state.attributes.get(chunk.inode);
  if (file?.kind !== "file") {
    report(`${where}: the inode is not a file`);
    return;
  }
  if (chunk.segments.length === 0) report(`${where}: no segments`);
  if (inlineBytes(chunk.segments) > CHUNK_INLINE_BYTES_MAX) report(`${where}: too much inline data`);
  let end = 0;
  for (const segment of chunk.segments) {
    if (segment.offset < end) report(`${where}: segments overlap at ${segment.offset}`);
    if (segmentLength(segment) === 0) report(`${where}: empty segment at ${segment.offset}`);
    end = segment.offset + segmentLength(segment);
    if (segment.kind !== "slice") continue;
    const slice = state.slices.get(segment.slice);
    if (slice === undefined) report(`${where}: slice ${segment.slice} does not exist`);
    else if (segment.sliceOffset + segment.length > slice.bytes)
      report(`${where}: reads beyond the end of slice ${segment.slice}`);
  }
  if (end > CHUNK_BYTES || chunk.index * CHUNK_BYTES + end > file.size)
    report(`${where}: data beyond the end of the chunk or file`);
}
