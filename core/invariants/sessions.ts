import type { HeldLock } from "../codec/records.ts";
import type { SliceId } from "../ids.ts";
import { OUTCOMES_PAGE } from "../requests.ts";
import type { Complain, Snapshot } from "./snapshot.ts";

/** Grants, kept outcomes, locks. */
export function checkSessions(state: Snapshot, complain: Complain): void {
  const ranges = [...state.sessions.values()].flatMap((session) => session.granted).sort((a, b) => a.first - b.first);
  let end = 0;
  for (const range of ranges) {
    if (range.first < end) complain(`slice id ${range.first} is granted twice`);
    end = range.first + range.count;
    for (let id = range.first; id < end; id++) {
      if (state.slices.has(id as SliceId)) complain(`slice ${id} is there and still granted`);
    }
  }
  for (const { session, page } of state.outcomePages) {
    const record = state.sessions.get(session);
    if (record === undefined) complain(`session ${session} is gone, outcomes of it not`);
    else if ((page + 1) * OUTCOMES_PAGE <= record.lowWater)
      complain(`session ${session} keeps page ${page} below its low water`);
  }
  checkLocks(state, complain);
}

function checkLocks(state: Snapshot, complain: Complain): void {
  const holders = new Set<string>();
  for (const [inode, locks] of state.locks) {
    if (!state.attributes.has(inode)) complain(`inode ${inode} is gone, locks on it not`);
    for (const [at, lock] of locks.entries()) {
      if (!state.sessions.has(lock.session)) complain(`session ${lock.session} is gone, a lock of it on ${inode} not`);
      holders.add(`${lock.session} ${inode}`);
      for (const other of locks.slice(at + 1)) if (clash(lock, other)) complain(`two locks on inode ${inode} clash`);
    }
  }
  const listed = [...state.lockedInodes].flatMap(([session, inodes]) => inodes.map((inode) => `${session} ${inode}`));
  if (listed.length !== holders.size || listed.some((pair) => !holders.has(pair))) {
    complain("the sessions' lists of locked inodes are not what the locks say");
  }
}

function clash(a: HeldLock, b: HeldLock): boolean {
  if (a.table !== b.table || a.start > b.end || b.start > a.end) return false;
  const sameHolder = a.session === b.session && a.owner === b.owner;
  return sameHolder || a.mode === "write" || b.mode === "write";
}
