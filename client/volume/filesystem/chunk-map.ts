import { CHUNK_BYTES, type Sequence } from "../../../core/ids.ts";
import type { Chunks, Piece } from "../metadata/metadata-reads.ts";

const CHUNKS_MAX = 64;

/** The pieces of a file's chunks, with the sequence that each chunk was read at. The last CHUNKS_MAX are kept. */
export class ChunkMap {
  /** Made with the first chunk: most inodes that the kernel knows are never read. */
  #chunks: Map<number, { pieces: readonly Piece[]; at: Sequence }> | undefined;

  /** The pieces of a chunk, if they were read at or after `changed`, the file's last change. */
  get(index: number, changed: Sequence): readonly Piece[] | undefined {
    const chunk = this.#chunks?.get(index);
    return chunk !== undefined && chunk.at >= changed ? chunk.pieces : undefined;
  }

  set(chunks: Chunks, at: Sequence): void {
    const kept = this.#chunks ?? new Map();
    this.#chunks = kept;
    for (const [index, pieces] of chunks) {
      kept.delete(index);
      kept.set(index, { pieces, at });
    }
    while (kept.size > CHUNKS_MAX) kept.delete(kept.keys().next().value!);
  }

  clear(): void {
    this.#chunks = undefined;
  }
}

export function chunkOf(offset: number): number {
  return Math.floor(offset / CHUNK_BYTES);
}

/** The pieces that overlap [from, to), cut to that range, in order. */
export function cutPieces(pieces: readonly Piece[], from: number, to: number): Piece[] {
  const cut: Piece[] = [];
  // Sorted and without overlap: a binary search finds the first piece that ends after `from`.
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (pieces[middle]!.offset + pieces[middle]!.length <= from) low = middle + 1;
    else high = middle;
  }
  for (let index = low; index < pieces.length && pieces[index]!.offset < to; index++) {
    cut.push(cutPiece(pieces[index]!, from, to));
  }
  return cut;
}

function cutPiece(piece: Piece, from: number, to: number): Piece {
  const skip = Math.max(0, from - piece.offset);
  const length = Math.min(piece.offset + piece.length, to) - piece.offset - skip;
  if (skip === 0 && length === piece.length) return piece;
  const offset = piece.offset + skip;
  if (piece.kind === "inline") return { ...piece, offset, length, data: piece.data.subarray(skip, skip + length) };
  return { ...piece, offset, length, sliceOffset: piece.sliceOffset + skip };
}
