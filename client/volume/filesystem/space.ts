import { CHUNK_BYTES, FILE_BYTES_MAX, type Inode, RANGE_CHUNKS_MAX } from "../../../core/ids.ts";
import type { Caller, Handlers, Result } from "../handlers.ts";
import { chunkOf } from "./chunk-map.ts";
import { commitOrReport } from "./durability.ts";
import type { FileHandle } from "./handles.ts";
import type { MountState } from "./mount-state.ts";

type SpaceHandlers = Pick<Handlers, "fallocate" | "lseek">;

/** Modes of fallocate(2) (include/uapi/linux/falloc.h) and whence of lseek(2) (include/uapi/linux/fs.h). */
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** The space in files: allocating and punching it, and finding the holes. Both work on what is committed. */
export function spaceHandlers(state: MountState): SpaceHandlers {
  const { handles } = state;
  return {
    async fallocate(caller, inode, number, mode, offset, length) {
      const handle = handles.file(number);
      if (handle === undefined || !handle.writable) return "EBADF";
      if (offset + length > FILE_BYTES_MAX) return "EFBIG";
      const committed = await commitOrReport(caller, handle);
      return committed === true ? fallocate(state, caller, inode, { mode, offset, length }) : committed;
    },

    async lseek(caller, _, number, offset, whence) {
      const handle = handles.file(number);
      if (handle === undefined) return "EBADF";
      await handle.node.writer?.commit();
      return seek(state, caller, handle, { offset, whence });
    },
  };
}

async function fallocate(
  state: MountState,
  caller: Caller,
  inode: Inode,
  { mode, offset, length }: { mode: number; offset: number; length: number },
): Promise<Result<true>> {
  const kind = fallocateKind(mode);
  if (kind === undefined) return "EOPNOTSUPP";
  // A command that visits every chunk of its range may visit a bounded number of them.
  const step = kind === "punch" || kind === "zero" ? (RANGE_CHUNKS_MAX - 1) * CHUNK_BYTES : length;
  for (let at = offset; at < offset + length; at += step) {
    const part = { offset: at, length: Math.min(step, offset + length - at) };
    const done = await state.session.mutate({ kind: "fallocate", inode, mode: kind, ...part }, { interrupt: caller });
    if (typeof done === "string") return done;
    state.kernel.noteOwnChange(done);
  }
  return true;
}

function fallocateKind(mode: number): "allocate" | "keepSize" | "punch" | "zero" | undefined {
  switch (mode) {
    case 0:
      return "allocate";
    case KEEP_SIZE:
      return "keepSize";
    // A hole reads as zeros, so inside the file both have the same effect.
    case PUNCH_HOLE | KEEP_SIZE:
    case ZERO_RANGE | KEEP_SIZE:
      return "punch";
    case ZERO_RANGE:
      return "zero";
    default:
      return undefined;
  }
}

/** The offset of the next data or the next hole. Requires that nothing is dirty. */
async function seek(
  state: MountState,
  caller: Caller,
  { node, at }: FileHandle,
  { offset, whence }: { offset: number; whence: number },
): Promise<Result<number>> {
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return "EINVAL";
  if (node.attributes === undefined || node.stale) {
    const error = await state.reader.load(node, chunkOf(offset), chunkOf(offset), at, caller);
    if (error !== undefined) return error;
  }
  const size = node.attributes?.size ?? 0;
  if (offset >= size) return "ENXIO";
  for (let from = offset; from < size; ) {
    const to = Math.min((chunkOf(from) + 1) * CHUNK_BYTES, size);
    const pieces = await state.reader.pieces(node, from, to, at, caller);
    if (typeof pieces === "string") return pieces;
    if (whence === SEEK_DATA && pieces[0] !== undefined) return pieces[0].offset;
    if (whence === SEEK_HOLE) {
      let dataEnd = from;
      for (const piece of pieces) {
        if (piece.offset > dataEnd) break;
        dataEnd = piece.offset + piece.length;
      }
      if (dataEnd < to) return dataEnd;
    }
    from = to;
  }
  return whence === SEEK_HOLE ? size : "ENXIO";
}
