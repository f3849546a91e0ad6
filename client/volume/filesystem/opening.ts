import { pause } from "../../../base/waiting.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import type { ByteString, Inode, Version } from "../../../core/ids.ts";
import type { Caller, EntryReply, Handlers, OpenReply, Result } from "../handlers.ts";
import { setAttributes } from "./attributes.ts";
import { O_ACCMODE, O_APPEND, O_EXCL, O_RDONLY, O_TRUNC } from "./handles.ts";
import type { LockReleases } from "./locks.ts";
import type { MountState } from "./mount-state.ts";
import { makeInode } from "./names.ts";
import type { Node } from "./nodes.ts";
import { ReadAhead } from "./read-ahead.ts";

type OpenHandlers = Pick<Handlers, "open" | "create" | "release">;

/** Chunk maps that come with an open for reading: enough for all but large files. */
const OPEN_CHUNKS = 2;
const INVALIDATION_MS_MAX = 500;
const NO_TARGET = "" as ByteString;

/** Opening and closing files. */
export function openHandlers(state: MountState, locks: LockReleases): OpenHandlers {
  const { handles } = state;
  return {
    open: (caller, inode, flags, killPrivileges) => open(state, caller, inode, { flags, killPrivileges }),

    async create(caller, parent, name, mode, umask, flags) {
      const made = await create(state, caller, { parent, name, mode: mode & ~umask & 0o7777, flags });
      return made === "EEXIST" && !(flags & O_EXCL) ? "ESTALE" : made;
    },

    release(_, inode, number, flockOwner) {
      const handle = handles.file(number);
      if (handle === undefined) return true;
      handles.remove(number);
      handle.readAhead.close();
      locks.released(inode, number, flockOwner);
      if (handle.writable) void handle.node.writer?.commit();
      closeNode(state, handle.node);
      return true;
    },
  };
}

async function open(
  state: MountState,
  caller: Caller,
  inode: Inode,
  { flags, killPrivileges }: { flags: number; killPrivileges: boolean },
): Promise<Result<OpenReply>> {
  const truncates = (flags & O_TRUNC) !== 0;
  const writesOnly = (flags & O_ACCMODE) === 1;
  const opened = await openChecked(state, caller, inode, writesOnly || truncates ? 0 : OPEN_CHUNKS);
  if (typeof opened === "string") return opened;
  const { node } = opened;
  if (truncates) {
    const failed = await truncate(state, caller, node, killPrivileges);
    if (failed !== undefined) {
      closeNode(state, node);
      return failed;
    }
  }
  const keepCache = await state.kernel.opening(node);
  return { handle: addHandle(state, node, flags, opened.version), keepCache };
}

async function create(
  state: MountState,
  caller: Caller,
  { flags, ...what }: { parent: Inode; name: ByteString; mode: number; flags: number },
): Promise<Result<{ entry: EntryReply; open: OpenReply }>> {
  const made = await makeInode(state, caller, { ...what, inodeKind: "file", device: 0, target: NO_TARGET });
  if (typeof made === "string") return made;
  const { entry, version } = made;
  const node = state.nodes.obtain(entry.attributes.inode);
  node.handles += 1;
  node.cachedPages = entry.attributes.changed;
  node.fresh = true;
  const handle = addHandle(state, node, flags, version);
  registerOpen(state, node);
  return { entry, open: { handle, keepCache: true } };
}

/**
 * Opens at the server, which checks that the names the kernel may have used still lead to the inode. Counts one more
 * open.
 */
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
      // The kernel now looks up all names again. The stale one is invalidated by then, unless its directory is busy.
      const invalidated = state.kernel.invalidateEntry(stale.parent, stale.name);
      await Promise.race([invalidated, pause(INVALIDATION_MS_MAX)]);
    }
    return "ESTALE";
  }
  const node = state.nodes.learn(opened.attributes, opened.version);
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

/**
 * Registers the open of a new file. CREATE does not wait for it: no other client knows the file yet, so none can remove
 * it.
 */
function registerOpen(state: MountState, node: Node): void {
  const registering = state.reads.noteOpen(node.inode).finally(() => {
    if (node.registering === registering) node.registering = undefined;
  });
  node.registering = registering;
}

async function truncate(
  state: MountState,
  caller: Caller,
  node: Node,
  killPrivileges: boolean,
): Promise<ErrnoCode | undefined> {
  await node.writer?.commit();
  const command = { kind: "setattr", inode: node.inode, size: 0, killPrivileges: killPrivileges || undefined } as const;
  const truncated = await setAttributes(state, caller, command);
  if (typeof truncated === "string") return truncated;
  // The kernel knows that the size has changed, and not that the mode may have.
  if (killPrivileges) await state.kernel.invalidateAttributes(node);
  return undefined;
}

function addHandle(state: MountState, node: Node, flags: number, at: Version): number {
  return state.handles.add({
    kind: "file",
    node,
    writable: (flags & O_ACCMODE) !== O_RDONLY,
    append: (flags & O_APPEND) !== 0,
    at,
    readAhead: new ReadAhead(state.readAhead),
    errorsReported: node.writer?.errors ?? 0,
    broken: false,
  });
}
