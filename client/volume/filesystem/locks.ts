import { orInterrupted } from "../../../base/waiting.ts";
import type { Inode, Version } from "../../../core/ids.ts";
import type { Handlers, LockRange, Result } from "../handlers.ts";
import type { MountState } from "./mount-state.ts";
import { LockOwners } from "./nodes.ts";

type LockHandlers = Pick<Handlers, "getlk" | "setlk">;
type Table = "posix" | "flock";

/** How closing a descriptor releases locks. */
export interface LockReleases {
  /** Whether this owner may hold a POSIX lock on the file. */
  held(inode: Inode, owner: string): boolean;
  /** On close(2) of any descriptor of the file POSIX releases all locks that the process holds on it (fcntl(2)). */
  closed(inode: Inode, owner: string): Promise<unknown>;
  /**
   * On the last close of an open file description its locks are released: its flock (flock(2)), whose owner the kernel
   * names, and its OFD locks (F_OFD_SETLK, fcntl(2)), whose owner it does not name.
   */
  released(inode: Inode, handle: number, flockOwner: string | undefined): void;
}

const TO_THE_END = Number.MAX_SAFE_INTEGER;

/** Advisory locks. They are part of the volume, and are granted by the primary to the mounts of all regions. */
export function lockHandlers(state: MountState): LockHandlers & { readonly releases: LockReleases } {
  const { nodes, session, reads } = state;

  function command(inode: Inode, table: Table, owner: string, range: LockRange) {
    return { kind: "lock", inode, table, owner, ...range } as const;
  }

  function unlock(inode: Inode, table: Table, owner: string): Promise<unknown> {
    const range: LockRange = { mode: "unlock", start: 0, end: TO_THE_END, pid: 0 };
    return session.mutate(command(inode, table, owner, range));
  }

  function noteOwner(inode: Inode, table: Table, owner: string, handle: number): void {
    const node = nodes.obtain(inode);
    node.lockOwners ??= new LockOwners();
    if (table === "posix") node.lockOwners.posix.set(owner, handle);
    else node.lockOwners.flock.add(owner);
  }

  function closed(inode: Inode, owner: string): Promise<unknown> {
    nodes.get(inode)?.lockOwners?.posix.delete(owner);
    return unlock(inode, "posix", owner);
  }

  return {
    getlk: (_, inode, __, owner, range) => reads.heldLock(inode, "posix", owner, range),

    async setlk(caller, inode, number, owner, range, { wait, flock }): Promise<Result<true>> {
      if (state.handles.file(number)?.broken) return "EIO";
      const table = flock ? "flock" : "posix";
      // The next holder of the lock must see what was written under it.
      if (range.mode === "unlock") await nodes.get(inode)?.writer?.commit();
      // Before the request is sent: a close that overtakes its answer must unlock, too.
      else noteOwner(inode, table, owner, number);
      const waits = wait && range.mode !== "unlock";
      const locking = session.mutate(command(inode, table, owner, range), { wait: waits, interrupt: caller });
      const done = await orInterrupted(locking, waits ? caller : undefined);
      if (done !== "EINTR") {
        if (typeof done === "string") return done;
        return range.mode === "unlock" ? true : refresh(state, inode, done.version);
      }
      // The lock may still be granted although the caller no longer waits: then it is released.
      void locking.then((late) => {
        if (typeof late !== "string") void session.mutate(command(inode, table, owner, { ...range, mode: "unlock" }));
      });
      return "EINTR";
    },

    releases: {
      held: (inode, owner) => nodes.get(inode)?.lockOwners?.posix.has(owner) === true,
      closed,
      released(inode, handle, flockOwner) {
        const owners = nodes.get(inode)?.lockOwners;
        if (owners === undefined) return;
        // A process's locks are gone by now: each of its close(2) sent a FLUSH. An OFD lock has one handle only.
        for (const [owner, through] of owners.posix) if (through === handle) void closed(inode, owner);
        if (flockOwner !== undefined && owners.flock.delete(flockOwner)) void unlock(inode, "flock", flockOwner);
      },
    },
  };
}

/** Under the lock, reads must see what its earlier holders wrote: cached pages that are older are invalidated. */
async function refresh(state: MountState, inode: Inode, version: Version): Promise<Result<true>> {
  const found = await state.reads.attributes(inode, { freshness: "token", atLeast: version });
  if (typeof found === "string") return found;
  const node = state.nodes.learn(found.attributes, found.version);
  if (node.cachedPages === found.attributes.changed) return true;
  node.cachedAttributes = undefined;
  await state.kernel.invalidatePages(node);
  return true;
}
