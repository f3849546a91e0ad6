import { orInterrupted } from "../../../base/waiting.ts";
import { FILE_BYTES_MAX, type Inode } from "../../../core/ids.ts";
import type { Caller, Handlers, Reply, Result } from "../handlers.ts";
import { SET_UID_OR_GID } from "./deferred-changes.ts";
import { durabilityHandlers } from "./durability.ts";
import type { LockReleases } from "./locks.ts";
import type { MountState } from "./mount-state.ts";
import type { Node } from "./nodes.ts";
import { openHandlers } from "./opening.ts";
import { spaceHandlers } from "./space.ts";

type DataHandlers = Pick<Handlers, "read" | "write">;

/** Open files: opening and closing, reading and writing, making what was written durable, and the space in them. */
export function fileHandlers(state: MountState, locks: LockReleases) {
  return {
    ...openHandlers(state, locks),
    ...dataHandlers(state),
    ...durabilityHandlers(state, locks),
    ...spaceHandlers(state),
  };
}

function dataHandlers(state: MountState): DataHandlers {
  const { handles, writers } = state;

  /** Fails when any commit of the file has failed since: it may have been the one of these bytes. */
  async function writeDurably(caller: Caller, node: Node, write: () => Reply<number>): Promise<Result<number>> {
    const writer = writers.of(node);
    const { errors } = writer;
    const written = await write();
    if (typeof written === "string") return written;
    const committed = await orInterrupted(writer.commitTogether(), caller);
    if (committed === "EINTR") return committed;
    return writer.errors === errors ? written : (writer.error ?? "EIO");
  }

  /**
   * The kernel drops the pages before a direct write. A reader may have brought back old ones before the bytes arrived
   * here, and after an asynchronous write (io_submit(2)) the kernel does not look again.
   */
  async function dropPagesAfter(written: Reply<number>, inode: Inode, offset: number, length: number) {
    const result = await written;
    await state.kernel.caches.invalidatePages(inode, offset, length);
    return result;
  }

  async function onceThereIsRoom(caller: Caller, write: () => Reply<number>): Promise<Result<number>> {
    const waited = await orInterrupted(writers.budget.room(), caller);
    return waited === "EINTR" ? waited : write();
  }

  return {
    read(caller, _, number, offset, length, direct) {
      const handle = handles.file(number);
      if (handle === undefined) return "EBADF";
      if (handle.broken) return "EIO";
      const { node, at, readAhead } = handle;
      if (!direct) node.buffered = true;
      return state.reader.read({ node, offset, length, atLeast: at, readAhead, caller });
    },

    write(caller, inode, number, offset, data, { killPrivileges, writeback, direct, durable }) {
      const handle = handles.file(number);
      if (handle === undefined || !handle.writable) return "EBADF";
      if (handle.broken) return "EIO";
      const put = (position: number) => {
        if (position + data.length > FILE_BYTES_MAX) return "EFBIG";
        const clears = killPrivileges && maySetId(handle.node);
        writers.of(handle.node).write(position, data, killPrivileges);
        // Else the kernel would run the file with the rights of its owner for as long as it keeps the mode.
        return clears ? state.kernel.invalidateAttributes(handle.node).then(() => data.length) : data.length;
      };
      const appends = handle.append && !writeback;
      const write = () => (appends ? append(state, caller, handle.node, { offset, put }) : put(offset));
      const writeInTurn = () => (writers.budget.full ? onceThereIsRoom(caller, write) : write());
      if (!direct) handle.node.buffered = true;
      const written = durable ? writeDurably(caller, handle.node, writeInTurn) : writeInTurn();
      return direct && handle.node.buffered ? dropPagesAfter(written, inode, offset, data.length) : written;
    },
  };
}

/** Whether the file has, or may have, set-user-ID or set-group-ID. */
function maySetId({ attributes, writer }: Node): boolean {
  if (attributes === undefined) return true;
  return ((writer?.overMode(attributes.mode) ?? attributes.mode) & SET_UID_OR_GID) !== 0;
}

/**
 * Appends at the end of the file, and not where the kernel has put the bytes: at the end that it has cached. The end is
 * asked for once another mount's change was pushed.
 */
function append(
  state: MountState,
  caller: Caller,
  node: Node,
  { offset, put }: { offset: number; put: (position: number) => Reply<number> },
): Reply<number> {
  const appendTo = (size: number) => {
    const end = Math.max(size, node.writer?.end ?? 0);
    if (offset !== end) void state.kernel.invalidatePages(node);
    return put(end);
  };
  if (node.attributes !== undefined && !node.stale) return appendTo(node.attributes.size);
  const asked = state.reads.attributes(node.inode, { freshness: "committed", interrupt: caller });
  return asked.then((found) =>
    typeof found === "string" ? found : appendTo(state.nodes.learn(found.attributes, found.version).attributes!.size),
  );
}
