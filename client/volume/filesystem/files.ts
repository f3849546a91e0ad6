import { orInterrupted, pause } from "../../../base/waiting.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import { FILE_BYTES_MAX, type Inode, type Version } from "../../../core/ids.ts";
import type { Caller, Handlers, OpenReply, Result } from "../handlers.ts";
import { setAttributes } from "./attributes.ts";
import { type FileHandle, O_ACCMODE, O_APPEND, O_EXCL, O_RDONLY, O_TRUNC } from "./handles.ts";
import { fallocate, seek } from "./holes.ts";
import type { LockReleases } from "./locks.ts";
import type { MountState } from "./mount-state.ts";
import { lookup } from "./names.ts";
import type { Node } from "./nodes.ts";
import { ReadAhead } from "./read-ahead.ts";

type FileHandlers = Pick<
  Handlers,
  "open" | "create" | "read" | "write" | "flush" | "release" | "fsync" | "fallocate" | "lseek"
>;

/** Chunk maps that come with an open for reading: enough for all but large files. */
const OPEN_CHUNKS = 2;
const INVALIDATION_MS_MAX = 500;

/** Open files: opening, reading, writing, and making what was written durable. */
export function fileHandlers(state: MountState, locks: LockReleases): FileHandlers {
  const { handles } = state;

  /** Commits what is dirty; a failure is reported once to each descriptor that was open when it happened. */
  async function commit(handle: FileHandle): Promise<Result<true>> {
    const { writer } = handle.node;
    await writer?.commit();
    return unreported(handle);
  }

  function commitOrReport(caller: Caller, handle: FileHandle): Result<true> | Promise<Result<true>> {
    if (!handle.node.writer?.dirty) return unreported(handle);
    return orInterrupted(commit(handle), caller);
  }

  async function unlockAfter(committed: Result<true> | Promise<Result<true>>, unlock: () => Promise<unknown>) {
    const result = await committed;
    await unlock();
    return result;
  }

  async function writeSoon(caller: Caller, work: () => number): Promise<Result<number>> {
    const waited = await orInterrupted(state.writers.budget.room(), caller);
    return waited === "EINTR" ? waited : work();
  }

  return {
    open: (caller, inode, flags) => open(state, caller, inode, flags),

    async create(caller, parent, name, mode, umask, flags) {
      const made = await makeFile(state, caller, { parent, name, mode: mode & ~umask & 0o7777 });
      if (made === "EEXIST" && !(flags & O_EXCL)) {
        const entry = await lookup(state, caller, parent, name);
        if (typeof entry === "string") return entry;
        const opened = await open(state, caller, entry.attributes.inode, flags);
        if (typeof opened !== "string") return { entry, open: opened };
        state.nodes.forget(entry.attributes.inode, 1);
        return opened;
      }
      if (typeof made === "string") return made;
      const { inode } = made.entry.attributes;
      const node = state.nodes.obtain(inode);
      node.cachedPages = made.entry.attributes.changed;
      node.fresh = true;
      const handle = addHandle(state, node, flags, made.version);
      // Nobody else knows the file yet, so that nobody can have removed it before the server hears of the open.
      const registering = state.reads.noteOpen(inode).finally(() => {
        if (node.registering === registering) node.registering = undefined;
      });
      node.registering = registering;
      return { entry: made.entry, open: { handle, keepCache: true } };
    },

    read(caller, _, number, offset, length) {
      const handle = handles.file(number);
      if (handle === undefined) return "EBADF";
      if (handle.broken) return "EIO";
      const { node, at, readAhead } = handle;
      return state.reader.read({ node, offset, length, atLeast: at, readAhead, caller });
    },

    write(caller, _, number, offset, data, killPrivileges) {
      const handle = handles.file(number);
      if (handle === undefined || !handle.writable) return "EBADF";
      if (handle.broken) return "EIO";
      if (offset + data.length > FILE_BYTES_MAX) return "EFBIG";
      const work = () => {
        const position = handle.append ? appendPosition(state, handle.node, offset) : offset;
        state.writers.of(handle.node).write(position, data, killPrivileges);
        return data.length;
      };
      return state.writers.budget.full ? writeSoon(caller, work) : work();
    },

    flush(caller, inode, number, lockOwner) {
      const handle = handles.file(number);
      if (handle === undefined) return true;
      handle.node.fresh = false;
      const committed = handle.broken
        ? "EIO"
        : handle.writable || handle.node.writer?.uncommitted
          ? commitOrReport(caller, handle)
          : true;
      if (!locks.held(inode, lockOwner)) return committed;
      // Who gets the lock next sees what was written under it.
      return unlockAfter(committed, () => locks.closed(inode, lockOwner));
    },

    release(_, inode, number, flockOwner) {
      const handle = handles.file(number);
      if (handle === undefined) return true;
      handles.remove(number);
      void locks.released(inode, flockOwner);
      void handle.node.writer?.commit();
      closeNode(state, handle.node);
      return true;
    },

    fsync(caller, _, number) {
      const handle = handles.file(number);
      if (handle === undefined) return "EBADF";
      return handle.broken ? "EIO" : commitOrReport(caller, handle);
    },

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

async function open(state: MountState, caller: Caller, inode: Inode, flags: number): Promise<Result<OpenReply>> {
  const truncates = (flags & O_TRUNC) !== 0;
  const writesOnly = (flags & O_ACCMODE) === 1;
  const opened = await openChecked(state, caller, inode, writesOnly || truncates ? 0 : OPEN_CHUNKS);
  if (typeof opened === "string") return opened;
  const { node } = opened;
  if (truncates) {
    const failed = await truncate(state, caller, node);
    if (failed !== undefined) {
      closeNode(state, node);
      return failed;
    }
  }
  const keepCache = await state.kernel.opening(node);
  return { handle: addHandle(state, node, flags, opened.version), keepCache };
}

/** Opens at the server, which checks that the names the kernel may have used still lead here. Counts one open more. */
export async function openChecked(
  state: MountState,
  caller: Caller,
  inode: Inode,
  chunks: number,
): Promise<ErrnoCode | { node: Node; version: Version }> {
  const names = state.staleOpens.isSecond(caller.pid, inode) ? [] : state.nodes.cachedNames(inode);
  const opened = await state.reads.open(inode, names, chunks, caller);
  if (typeof opened === "string") return opened;
  if ("stale" in opened) {
    state.staleOpens.answeredStale(caller.pid);
    const stale = names[opened.stale];
    if (stale !== undefined) {
      // The kernel now looks all names up again; the false one is gone by then, unless its directory is busy.
      const invalidated = state.kernel.invalidateEntry(stale.parent, stale.name);
      await Promise.race([invalidated, pause(INVALIDATION_MS_MAX)]);
    }
    return "ESTALE";
  }
  const node = state.nodes.learn(opened.attributes);
  if (chunks > 0) node.chunks.set(opened.chunks, opened.version.sequence);
  node.handles += 1;
  return { node, version: opened.version };
}

export function closeNode(state: MountState, node: Node): void {
  node.handles -= 1;
  const release = () => state.reads.release(node.inode, 1);
  if (node.registering === undefined) release();
  else void node.registering.then(release);
  state.nodes.trim(node);
}

async function truncate(state: MountState, caller: Caller, node: Node): Promise<ErrnoCode | undefined> {
  await node.writer?.commit();
  const truncated = await setAttributes(state, caller, { kind: "setattr", inode: node.inode, size: 0 });
  return typeof truncated === "string" ? truncated : undefined;
}

async function makeFile(
  state: MountState,
  caller: Caller,
  what: { parent: Inode; name: Parameters<Handlers["create"]>[2]; mode: number },
) {
  const made = await state.session.mutate(
    {
      kind: "make",
      ...what,
      inodeKind: "file",
      uid: caller.uid,
      gid: caller.gid,
      device: 0,
      target: "" as typeof what.name,
    },
    { interrupt: caller },
  );
  if (typeof made === "string") return made;
  state.nodes.markStale(what.parent);
  const node = state.nodes.obtain(state.kernel.noteOwnChange(made).inode);
  node.handles += 1;
  return { entry: state.kernel.entryReply(what.parent, what.name, node.attributes!), version: made.version };
}

function addHandle(state: MountState, node: Node, flags: number, at: Version): number {
  return state.handles.add({
    kind: "file",
    node,
    writable: (flags & O_ACCMODE) !== O_RDONLY,
    append: (flags & O_APPEND) !== 0,
    at,
    readAhead: new ReadAhead(state.readAheadBytes),
    errorsReported: node.writer?.errors ?? 0,
    broken: false,
  });
}

function unreported(handle: FileHandle): Result<true> {
  const { writer } = handle.node;
  if (writer === undefined || writer.errors === handle.errorsReported) return true;
  handle.errorsReported = writer.errors;
  return writer.error ?? "EIO";
}

/** Where an append goes: behind everything that this mount knows of the file, whatever size the kernel has cached. */
function appendPosition(state: MountState, node: Node, offset: number): number {
  if (node.attributes === undefined || node.stale) return offset;
  const end = Math.max(node.attributes.size, node.writer?.end ?? 0);
  if (offset >= end) return offset;
  // The kernel has put these bytes into its pages at another place.
  void state.kernel.invalidatePages(node);
  return end;
}
