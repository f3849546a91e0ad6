import type { HeldLock } from "./codec/records.ts";
import type { CommandOf, Outcome } from "./commands.ts";
import { type Context, DONE, fail, type Handlers } from "./context.ts";
import type { Inode, SessionId } from "./ids.ts";
import type { Tree } from "./tree.ts";

const OWNER_CHARACTERS_MAX = 255;
/** Locks on an inode, and inodes that a session holds locks on. ENOLCK beyond it. */
const LOCKS_MAX = 4096;

export const lockHandlers: Handlers<"lock"> = { lock };

/** A request for a lock on a range. The holder is (table, session, owner). */
export interface LockRequest {
  readonly table: "posix" | "flock";
  readonly session: SessionId;
  readonly owner: string;
  readonly mode: "read" | "write";
  readonly start: number;
  /** Inclusive. */
  readonly end: number;
}

function sameHolder(a: Omit<LockRequest, "mode">, b: Omit<LockRequest, "mode">): boolean {
  return a.table === b.table && a.session === b.session && a.owner === b.owner;
}

function overlap(a: { start: number; end: number }, b: { start: number; end: number }): boolean {
  return a.start <= b.end && b.start <= a.end;
}

/** The first lock of another holder that conflicts with the request, as F_GETLK returns it; undefined if there is none. */
export function conflictingLock(locks: readonly HeldLock[], request: LockRequest): HeldLock | undefined {
  return locks.find(
    (held) =>
      held.table === request.table &&
      !sameHolder(held, request) &&
      overlap(held, request) &&
      (held.mode === "write" || request.mode === "write"),
  );
}

/**
 * Sets or clears a lock, as F_SETLK (fcntl(2)) and LOCK_NB (flock(2)) do; a flock covers the whole file, whatever the range.
 * A retry of the same request returns the kept outcome, so a client that waits uses a new request number for each attempt.
 * Errors: EAGAIN: another holder has a conflicting lock; ENOLCK: too many locks; EINVAL: no such session, or not a range.
 */
function lock(context: Context, command: CommandOf<"lock">): Outcome {
  const { tree, stamp, effects } = context;
  if (tree.session(stamp.session) === undefined) return fail("EINVAL");
  if (command.start > command.end || command.owner.length > OWNER_CHARACTERS_MAX) return fail("EINVAL");
  if (tree.attributes(command.inode) === undefined) return fail("ESTALE");
  const range =
    command.table === "flock" ? { start: 0, end: Number.MAX_SAFE_INTEGER } : { start: command.start, end: command.end };
  const { table, owner, mode, pid } = command;
  const holder = { table, session: stamp.session, owner, pid, ...range };
  const before = tree.locks(command.inode);
  if (mode !== "unlock" && conflictingLock(before, { ...holder, mode }) !== undefined) return fail("EAGAIN");
  const after = withLock(before, holder, mode);
  if (after.length > LOCKS_MAX && after.length > before.length) return fail("ENOLCK");
  if (!track(tree, stamp.session, command.inode, after)) return fail("ENOLCK");

  tree.putLocks(command.inode, after);
  const released = mode !== "write" && before.some((held) => sameHolder(held, holder) && overlap(held, holder));
  if (released) effects.unlock(command.inode);
  return DONE;
}

/** The locks after the holder's range has changed to `mode`: its earlier locks are cut, adjacent ones of one mode merged. */
function withLock(
  locks: readonly HeldLock[],
  holder: Omit<HeldLock, "mode">,
  mode: "read" | "write" | "unlock",
): HeldLock[] {
  const after: HeldLock[] = [];
  let { start, end } = holder;
  for (const held of locks) {
    if (!sameHolder(held, holder)) {
      after.push(held);
    } else if (held.mode === mode && held.start <= holder.end + 1 && held.end + 1 >= holder.start) {
      start = Math.min(start, held.start);
      end = Math.max(end, held.end);
    } else {
      if (held.start < holder.start) after.push({ ...held, end: Math.min(held.end, holder.start - 1) });
      if (held.end > holder.end) after.push({ ...held, start: Math.max(held.start, holder.end + 1) });
    }
  }
  if (mode !== "unlock") after.push({ ...holder, mode, start, end });
  return after.sort(compareLocks);
}

/** A total order, so that equal sets of locks have equal bytes. */
function compareLocks(a: HeldLock, b: HeldLock): number {
  if (a.table !== b.table) return a.table < b.table ? -1 : 1;
  if (a.session !== b.session) return a.session - b.session;
  if (a.owner !== b.owner) return a.owner < b.owner ? -1 : 1;
  return a.start - b.start;
}

/** Updates the list of inodes that the session holds locks on. @returns false when the list is full. */
function track(tree: Tree, session: SessionId, inode: Inode, locks: readonly HeldLock[]): boolean {
  const inodes = tree.lockedInodes(session);
  const holds = locks.some((held) => held.session === session);
  if (holds === inodes.includes(inode)) return true;
  if (!holds) {
    tree.putLockedInodes(
      session,
      inodes.filter((other) => other !== inode),
    );
    return true;
  }
  if (inodes.length >= LOCKS_MAX) return false;
  tree.putLockedInodes(
    session,
    [...inodes, inode].sort((a, b) => a - b),
  );
  return true;
}

/** Releases all locks of a session that is closed. */
export function releaseLocksOfSession(context: Context, session: SessionId): void {
  const { tree, effects } = context;
  for (const inode of tree.lockedInodes(session)) {
    const kept = tree.locks(inode).filter((held) => held.session !== session);
    tree.putLocks(inode, kept);
    effects.unlock(inode);
  }
  tree.putLockedInodes(session, []);
}

/** Drops the locks on an inode that is removed. Requests that wait for one are retried, and fail with ESTALE. */
export function dropLocksOfInode(context: Context, inode: Inode): void {
  const { tree, effects } = context;
  const sessions = new Set(tree.locks(inode).map((held) => held.session));
  if (sessions.size === 0) return;
  for (const session of sessions) track(tree, session, inode, []);
  tree.putLocks(inode, []);
  effects.unlock(inode);
}
