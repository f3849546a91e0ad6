import { BLOCK_BYTES, CHUNK_BYTES, CHUNK_INLINE_BYTES_MAX, type Inode, type SliceId } from "../ids.ts";
import { inlineBytes, segmentLength, usedBytes } from "../segments.ts";
import type { Complain, Snapshot } from "./snapshot.ts";

/** Segments, the slices they name, and how much a file holds. */
export function checkChunks(state: Snapshot, complain: Complain): void {
  const references = new Map<SliceId, number>();
  const held = new Map<Inode, number>();
  for (const chunk of state.chunks) {
    checkChunk(state, chunk, complain);
    held.set(chunk.inode, (held.get(chunk.inode) ?? 0) + usedBytes(chunk.segments));
    for (const segment of chunk.segments) {
      if (segment.kind === "slice") references.set(segment.slice, (references.get(segment.slice) ?? 0) + 1);
    }
  }
  for (const [inode, attributes] of state.attributes) {
    const bytes = held.get(inode) ?? 0;
    if (attributes.usedBytes !== bytes) complain(`inode ${inode} says ${attributes.usedBytes} bytes, holds ${bytes}`);
  }
  for (const [id, slice] of state.slices) {
    const count = references.get(id) ?? 0;
    if (slice.references !== count) complain(`slice ${id} says ${slice.references} references, has ${count}`);
    if (slice.crc32c.length !== Math.ceil(slice.bytes / BLOCK_BYTES)) complain(`slice ${id} miscounts its blocks`);
  }
}

function checkChunk(state: Snapshot, chunk: Snapshot["chunks"][number], complain: Complain): void {
  const where = `chunk ${chunk.index} of ${chunk.inode}`;
  const file = state.attributes.get(chunk.inode);
  if (file?.kind !== "file") {
    complain(`${where}: that is no file`);
    return;
  }
  if (chunk.segments.length === 0) complain(`${where} is empty`);
  if (inlineBytes(chunk.segments) > CHUNK_INLINE_BYTES_MAX) complain(`${where} holds too much inline`);
  let end = 0;
  for (const segment of chunk.segments) {
    if (segment.offset < end) complain(`${where}: segments overlap at ${segment.offset}`);
    if (segmentLength(segment) === 0) complain(`${where}: a segment is empty`);
    end = segment.offset + segmentLength(segment);
    if (segment.kind !== "slice") continue;
    const slice = state.slices.get(segment.slice);
    if (slice === undefined) complain(`${where} names slice ${segment.slice}, which is not there`);
    else if (segment.sliceOffset + segment.length > slice.bytes) complain(`${where} reads past slice ${segment.slice}`);
  }
  if (end > CHUNK_BYTES || chunk.index * CHUNK_BYTES + end > file.size) complain(`${where} holds bytes past the end`);
}
