import { BLOCK_BYTES, CHUNK_BYTES } from "../../../core/ids.ts";
import { giveBuffer, takeBuffer } from "../blocks/block-buffers.ts";

/**
 * A contiguous range of a file that was written and is not committed yet. A commit stores it as one slice or as inline
 * data. It never crosses a chunk, and is cut into blocks from its own start. The first `frozenBlocks` blocks are
 * uploading and immutable.
 */
export class DirtyRun {
  /** Of its first byte in the file. */
  readonly offset: number;
  #length = 0;
  readonly #blocks: Uint8Array[] = [];
  #frozenBlocks = 0;
  #bufferBytes = 0;

  constructor(offset: number) {
    this.offset = offset;
  }

  get length(): number {
    return this.#length;
  }

  get end(): number {
    return this.offset + this.#length;
  }

  /** Of its buffers, which come in a few sizes: 257 KiB take 4 MiB. */
  get bufferBytes(): number {
    return this.#bufferBytes;
  }

  get chunk(): number {
    return Math.floor(this.offset / CHUNK_BYTES);
  }

  get chunkIsFull(): boolean {
    return this.end === (this.chunk + 1) * CHUNK_BYTES;
  }

  /** Blocks that have their full length. */
  get fullBlocks(): number {
    return Math.floor(this.#length / BLOCK_BYTES);
  }

  get blockCount(): number {
    return Math.ceil(this.#length / BLOCK_BYTES);
  }

  get frozenBlocks(): number {
    return this.#frozenBlocks;
  }

  freeze(blocks: number): void {
    this.#frozenBlocks = Math.max(this.#frozenBlocks, blocks);
  }

  /** Whether a write at `offset` can go into this run: it is adjacent or inside, and not in a frozen block. */
  takes(offset: number): boolean {
    return offset >= this.offset + this.#frozenBlocks * BLOCK_BYTES && offset <= this.end;
  }

  overlaps(offset: number, length: number): boolean {
    return offset < this.end && offset + length > this.offset;
  }

  /** Requires `takes(offset)`, and that the data ends inside the chunk. */
  write(offset: number, data: Uint8Array): void {
    let at = offset - this.offset;
    this.#length = Math.max(this.#length, at + data.length);
    for (let done = 0; done < data.length; ) {
      const index = Math.floor(at / BLOCK_BYTES);
      const inside = at % BLOCK_BYTES;
      const length = Math.min(BLOCK_BYTES - inside, data.length - done);
      this.#room(index, inside + length).set(
        done === 0 && length === data.length ? data : data.subarray(done, done + length),
        inside,
      );
      done += length;
      at += length;
    }
  }

  /** The bytes of a block at its current length; not a copy. */
  block(index: number): Uint8Array {
    return this.#blocks[index]!.subarray(0, Math.min(BLOCK_BYTES, this.#length - index * BLOCK_BYTES));
  }

  /** All bytes in one array; for short runs. */
  bytes(): Uint8Array {
    if (this.blockCount === 1) return this.block(0);
    const all = new Uint8Array(this.#length);
    for (let index = 0; index < this.blockCount; index++) all.set(this.block(index), index * BLOCK_BYTES);
    return all;
  }

  /** Copies its bytes of the file's range [offset, offset + target.length) into `target`. */
  overlay(target: Uint8Array, offset: number): void {
    const from = Math.max(offset, this.offset);
    const to = Math.min(offset + target.length, this.end);
    for (let at = from; at < to; ) {
      const index = Math.floor((at - this.offset) / BLOCK_BYTES);
      const inside = (at - this.offset) % BLOCK_BYTES;
      const length = Math.min(BLOCK_BYTES - inside, to - at);
      target.set(this.#blocks[index]!.subarray(inside, inside + length), at - offset);
      at += length;
    }
  }

  release(): void {
    for (const block of this.#blocks) giveBuffer(block);
    this.#blocks.length = 0;
    this.#bufferBytes = 0;
  }

  #room(index: number, bytes: number): Uint8Array {
    const block = this.#blocks[index];
    if (block !== undefined && block.length >= bytes) return block;
    // A run that filled a block will most likely fill the next one.
    const grown = takeBuffer(index > 0 ? BLOCK_BYTES : bytes);
    if (block !== undefined) grown.set(block);
    this.#bufferBytes += grown.length - (block?.length ?? 0);
    this.#blocks[index] = grown;
    return grown;
  }
}

/**
 * Puts a write into the runs of a file, oldest run first; a later run hides an earlier one. Answers the bytes of buffers added.
 */
export function writeIntoRuns(runs: DirtyRun[], offset: number, data: Uint8Array): number {
  let added = 0;
  for (let done = 0; done < data.length; ) {
    const at = offset + done;
    const length = Math.min(data.length - done, CHUNK_BYTES - (at % CHUNK_BYTES));
    const piece = length === data.length ? data : data.subarray(done, done + length);
    const run = runFor(runs, at, length);
    const before = run.bufferBytes;
    run.write(at, piece);
    added += run.bufferBytes - before;
    done += length;
  }
  return added;
}

/** The newest run that takes these bytes, unless a newer run overlaps them; else a new run. */
function runFor(runs: DirtyRun[], offset: number, length: number): DirtyRun {
  const chunk = Math.floor(offset / CHUNK_BYTES);
  for (let index = runs.length - 1; index >= 0; index--) {
    const run = runs[index]!;
    if (run.chunk === chunk && run.takes(offset)) return run;
    if (run.overlaps(offset, length)) break;
  }
  const run = new DirtyRun(offset);
  runs.push(run);
  return run;
}

/**
 * The same bytes in as few runs as possible: adjacent and overlapping runs are joined, later bytes over earlier ones.
 * Only for runs of which no block was uploaded.
 */
export function joinRuns(runs: readonly DirtyRun[]): DirtyRun[] {
  const spans: { start: number; end: number }[] = [];
  const sorted = [...runs].sort((a, b) => a.offset - b.offset);
  for (const { offset, end, chunk } of sorted) {
    const last = spans.at(-1);
    if (last !== undefined && offset <= last.end && Math.floor(last.start / CHUNK_BYTES) === chunk) {
      last.end = Math.max(last.end, end);
    } else spans.push({ start: offset, end });
  }
  if (spans.length === runs.length) return [...runs];
  return spans.map(({ start, end }) => joined(runs, start, end));
}

function joined(runs: readonly DirtyRun[], start: number, end: number): DirtyRun {
  const parts = runs.filter((run) => run.overlaps(start, end - start));
  if (parts.length === 1) return parts[0]!;
  const whole = new DirtyRun(start);
  const piece = new Uint8Array(Math.min(BLOCK_BYTES, end - start));
  for (let at = start; at < end; at += piece.length) {
    const target = piece.subarray(0, Math.min(piece.length, end - at));
    for (const part of parts) part.overlay(target, at);
    whole.write(at, target);
  }
  for (const part of parts) part.release();
  return whole;
}
