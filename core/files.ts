import { ChunkEdit } from "./chunks.ts";
import type { Attributes, CommandOf, Extent, Outcome, Slice } from "./commands.ts";
import { type Context, fail, type Handlers, putChanged, regularFile } from "./context.ts";
import type { ErrnoCode } from "./errno.ts";
import { isGranted, takeGranted } from "./grants.ts";
import {
  BLOCK_BYTES,
  CHUNK_BYTES,
  CHUNK_INLINE_BYTES_MAX,
  FILE_BYTES_MAX,
  INLINE_BYTES_MAX,
  RANGE_CHUNKS_MAX,
  type SliceId,
} from "./ids.ts";
import { withoutCapability, withoutPrivileges } from "./privileges.ts";
import { inlineBytes, insert } from "./segments.ts";

export const fileHandlers: Handlers<"write" | "fallocate"> = { write, fallocate };

/**
 * Writes extents into a file, in order: all of them or none. Errors:
 * - EINVAL: an extent is empty, crosses the end of a chunk, is too long to be inline, or has not one checksum per block
 * - EFBIG: beyond FILE_BYTES_MAX
 * - EEXIST: a slice's id is in use; ESTALE: the session may not use it, or there is no such inode
 * - EOVERFLOW: a chunk would hold more than CHUNK_INLINE_BYTES_MAX of inline data; the client uploads a slice instead
 */
function write(context: Context, command: CommandOf<"write">): Outcome {
  const { tree, stamp } = context;
  const file = regularFile(tree, command.inode);
  if (typeof file === "string") return fail(file);
  const slices = new Map<SliceId, Slice>();
  for (const extent of command.extents) {
    const error = extentError(context, extent, slices);
    if (error !== undefined) return fail(error);
    if (extent.kind === "slice") slices.set(extent.slice.id, extent.slice);
  }
  const edit = new ChunkEdit(context, file.inode);
  if (!placeExtents(edit, command.extents)) return fail("EOVERFLOW");

  takeGranted(context, [...slices.keys()]);
  const grown = edit.commit(slices);
  const end = command.extents.reduce((end, extent) => Math.max(end, extent.offset + extentLength(extent)), 0);
  const attributes = putChanged(
    context,
    {
      ...withoutCapability(context, file),
      size: Math.max(file.size, end),
      usedBytes: file.usedBytes + grown,
      mode: command.killPrivileges ? withoutPrivileges(file.mode) : file.mode,
      mtime: command.mtime ?? stamp.now,
      ctime: stamp.now,
    },
    true,
  );
  return { ok: true, attributes };
}

function extentLength(extent: Extent): number {
  return extent.kind === "inline" ? extent.data.length : extent.slice.bytes;
}

function extentError(context: Context, extent: Extent, earlier: ReadonlyMap<SliceId, Slice>): ErrnoCode | undefined {
  const length = extentLength(extent);
  if (extent.offset + length > FILE_BYTES_MAX) return "EFBIG";
  if (length === 0 || (extent.offset % CHUNK_BYTES) + length > CHUNK_BYTES) return "EINVAL";
  if (extent.kind === "inline") return length > INLINE_BYTES_MAX ? "EINVAL" : undefined;
  const { id, crc32c } = extent.slice;
  if (crc32c.length !== Math.ceil(length / BLOCK_BYTES)) return "EINVAL";
  if (earlier.has(id) || context.tree.slice(id) !== undefined) return "EEXIST";
  return isGranted(context, id) ? undefined : "ESTALE";
}

/** Stages the extents. @returns false when a chunk would hold too much inline data. */
function placeExtents(edit: ChunkEdit, extents: readonly Extent[]): boolean {
  const inlined = new Set<number>();
  for (const extent of extents) {
    const index = Math.floor(extent.offset / CHUNK_BYTES);
    const offset = extent.offset % CHUNK_BYTES;
    if (extent.kind === "inline") {
      inlined.add(index);
      edit.replace(index, insert(edit.segments(index), { kind: "inline", offset, data: extent.data }));
      continue;
    }
    const { id, bytes } = extent.slice;
    const segment = { kind: "slice", offset, length: bytes, slice: id, sliceOffset: 0 } as const;
    edit.replace(index, insert(edit.segments(index), segment));
  }
  for (const index of inlined) if (inlineBytes(edit.segments(index)) > CHUNK_INLINE_BYTES_MAX) return false;
  return true;
}

/**
 * Shrinks or extends a file. Shrinking clears chunks from the end, at most RANGE_CHUNKS_MAX of them, since apply can read
 * single chunks but not list those that exist. If there may be more, the result has the size that was reached, and the client
 * sends the command again until it has the size it asked for. It ends early once the file holds no more data. Bytes beyond
 * the size are gone for good: they read as zeros when the file grows again.
 * @returns the file with its new size and usedBytes; the caller puts it.
 */
export function truncate(context: Context, file: Attributes, size: number): Attributes {
  if (size >= file.size) return { ...file, size };
  const edit = new ChunkEdit(context, file.inode);
  const lowest = Math.floor(size / CHUNK_BYTES);
  let index = Math.ceil(file.size / CHUNK_BYTES) - 1;
  const limit = Math.max(lowest, index - RANGE_CHUNKS_MAX + 1);
  let left = file.usedBytes;
  for (; index >= limit && left > 0; index--) left -= edit.clear(index, size, file.size);
  edit.commit();
  const reached = index < lowest || left === 0 ? size : (index + 1) * CHUNK_BYTES;
  return { ...file, size: reached, usedBytes: left };
}

/**
 * fallocate(2). "allocate" and "keepSize" reserve nothing, because space is the bucket's. EINVAL: an empty range. EFBIG:
 * beyond FILE_BYTES_MAX, or "punch" and "zero" over more than RANGE_CHUNKS_MAX chunks.
 */
function fallocate(context: Context, command: CommandOf<"fallocate">): Outcome {
  const { now } = context.stamp;
  const file = regularFile(context.tree, command.inode);
  if (typeof file === "string") return fail(file);
  const end = command.offset + command.length;
  if (command.length === 0) return fail("EINVAL");
  if (end > FILE_BYTES_MAX) return fail("EFBIG");
  const extended = { ...file, size: Math.max(file.size, end), mtime: now, ctime: now };
  switch (command.mode) {
    case "keepSize":
      return { ok: true, attributes: putChanged(context, { ...file, ctime: now }, false) };
    case "allocate":
      return { ok: true, attributes: putChanged(context, extended, true) };
    case "punch":
    case "zero": {
      const held = clearRange(context, file, command.offset, end);
      if (held === undefined) return fail("EFBIG");
      const size = command.mode === "zero" ? extended.size : file.size;
      const cleared = { ...withoutCapability(context, file), usedBytes: file.usedBytes - held, size };
      return { ok: true, attributes: putChanged(context, { ...cleared, mtime: now, ctime: now }, true) };
    }
  }
}

/** Makes a hole. @returns the number of bytes that were held there; undefined when the range has too many chunks. */
function clearRange(context: Context, file: Attributes, from: number, end: number): number | undefined {
  const to = Math.min(end, file.size);
  if (from >= to || file.usedBytes === 0) return 0;
  const first = Math.floor(from / CHUNK_BYTES);
  const last = Math.ceil(to / CHUNK_BYTES) - 1;
  if (last - first + 1 > RANGE_CHUNKS_MAX) return undefined;
  const edit = new ChunkEdit(context, file.inode);
  for (let index = first; index <= last; index++) edit.clear(index, from, to);
  return -edit.commit();
}
