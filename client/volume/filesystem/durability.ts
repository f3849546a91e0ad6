import { orInterrupted } from "../../../base/waiting.ts";
import type { Caller, Handlers, Result } from "../handlers.ts";
import type { FileHandle } from "./handles.ts";
import type { LockReleases } from "./locks.ts";
import type { MountState } from "./mount-state.ts";

type DurabilityHandlers = Pick<Handlers, "flush" | "fsync">;

/** Making what was written durable. */
export function durabilityHandlers({ handles }: MountState, locks: LockReleases): DurabilityHandlers {
  async function unlockAfter(committed: Result<true> | Promise<Result<true>>, unlock: () => Promise<unknown>) {
    const result = await committed;
    await unlock();
    return result;
  }

  return {
    flush(caller, inode, number, lockOwner) {
      const handle = handles.file(number);
      if (handle === undefined) return true;
      handle.node.fresh = false;
      const unlocks = locks.held(inode, lockOwner);
      // The bytes of other descriptors are left to these, but the next holder of a lock must see what was written under it.
      const commits = handle.writable || unlocks || handle.node.writer?.changing === true;
      const committed = handle.broken ? "EIO" : commits ? commitOrReport(caller, handle) : true;
      return unlocks ? unlockAfter(committed, () => locks.closed(inode, lockOwner)) : committed;
    },

    fsync(caller, _, number) {
      const handle = handles.file(number);
      if (handle === undefined) return "EBADF";
      return handle.broken ? "EIO" : commitOrReport(caller, handle);
    },
  };
}

/** Commits what is dirty. A failure is reported once to each descriptor that was open when it happened. */
export function commitOrReport(caller: Caller, handle: FileHandle): Result<true> | Promise<Result<true>> {
  const { writer } = handle.node;
  if (!writer?.dirty) return unreported(handle);
  return orInterrupted(
    writer.commit().then(() => unreported(handle)),
    caller,
  );
}

/** The last error that this descriptor has not reported yet, or true. */
function unreported(handle: FileHandle): Result<true> {
  const { writer } = handle.node;
  if (writer === undefined || writer.errors === handle.errorsReported) return true;
  handle.errorsReported = writer.errors;
  return writer.error ?? "EIO";
}
