import { newSlice, type Segment } from "./codec/values.ts";
import type { Slice } from "./commands.ts";
import type { Context } from "./context.ts";
import { CHUNK_BYTES, type Inode, type SliceId } from "./ids.ts";
import { cut, referenceChanges, usedBytes } from "./segments.ts";

/** Changes to the chunks of one file: staged first, so that the command can still fail, then committed. */
export class ChunkEdit {
  readonly #context: Context;
  readonly #inode: Inode;
  readonly #edited = new Map<number, { readonly before: readonly Segment[]; after: readonly Segment[] }>();

  constructor(context: Context, inode: Inode) {
    this.#context = context;
    this.#inode = inode;
  }

  segments(index: number): readonly Segment[] {
    return this.#edited.get(index)?.after ?? this.#context.tree.chunk(this.#inode, index)?.segments ?? [];
  }

  replace(index: number, after: readonly Segment[]): void {
    const edited = this.#edited.get(index);
    if (edited !== undefined) edited.after = after;
    else this.#edited.set(index, { before: this.segments(index), after });
  }

  /** Stages a hole: the part of the file's range [from, to) in this chunk. @returns the number of bytes it held. */
  clear(index: number, from: number, to: number): number {
    const start = index * CHUNK_BYTES;
    const before = this.segments(index);
    const after = cut(before, Math.max(from - start, 0), Math.min(to - start, CHUNK_BYTES));
    if (after === before) return 0;
    this.replace(index, after);
    return usedBytes(before) - usedBytes(after);
  }

  /**
   * Writes the staged chunks and the slices' reference counts. `added`: the slices that the command brings.
   * @returns the change of the file's `usedBytes`.
   */
  commit(added: ReadonlyMap<SliceId, Slice> = NO_SLICES): number {
    const { tree, sequence } = this.#context;
    const references = new Map<SliceId, number>();
    for (const id of added.keys()) references.set(id, 0);
    let grown = 0;
    for (const [index, { before, after }] of this.#edited) {
      tree.putChunk(this.#inode, index, after.length > 0 ? { revision: sequence, segments: after } : undefined);
      grown += usedBytes(after) - usedBytes(before);
      for (const [id, by] of referenceChanges(before, after)) references.set(id, (references.get(id) ?? 0) + by);
    }
    for (const [id, by] of references) this.#count(id, by, added.get(id));
    const volume = tree.volume!;
    if (grown !== 0) tree.putVolume({ ...volume, usedBytes: volume.usedBytes + grown });
    return grown;
  }

  #count(id: SliceId, by: number, added: Slice | undefined): void {
    const { tree, effects } = this.#context;
    const slice = added === undefined ? tree.slice(id)! : newSlice(added);
    const record = { ...slice, references: slice.references + by };
    if (record.references > 0) {
      tree.putSlice(id, record);
      if (added !== undefined) effects.sliceAdded(record, this.#inode);
      return;
    }
    if (added === undefined) tree.putSlice(id, undefined);
    effects.sliceDropped(record);
  }
}

const NO_SLICES: ReadonlyMap<SliceId, Slice> = new Map();
