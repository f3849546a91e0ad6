import type { HeldLock } from "../codec/records.ts";
import type { SliceId } from "../ids.ts";
import { OUTCOMES_PAGE } from "../requests.ts";
import type { Report, Snapshot } from "./snapshot.ts";

/** Grants, kept outcomes, locks. */
export function checkSessions(state: Snapshot, report: Report): void {
  const ranges = [...state.sessions.values()].flatMap((session) => session.granted).sort((a, b) => a.first - b.first);
  let end = 0;
  for (const range of ranges) {
    if (range.first < end) report(`slice id ${range.first} is granted twice`);
    end = range.first + range.count;
    for (let id = range.first; id < end; id++) {
      if (state.slices.has(id as SliceId)) report(`slice ${id} exists, and its id is still granted`);
    }
  }
  for (const { session, page } of state.outcomePages) {
    const record = state.sessions.get(session);
    if (record === undefined) report(`session ${session} does not exist, but outcomes of it do`);
    else if ((page + 1) * OUTCOMES_PAGE <= record.lowWater)
      report(`session ${session}: page ${page} of outcomes is below the low water`);
  }
  checkLocks(state, report);
}

function checkLocks(state: Snapshot, report: Report): void {
  const holders = new Set<string>();
  for (const [inode, locks] of state.locks) {
    if (!state.attributes.has(inode)) report(`inode ${inode} does not exist, but locks on it do`);
    for (const [at, lock] of locks.entries()) {
      if (!state.sessions.has(lock.session))
        report(`session ${lock.session} does not exist, but holds a lock on inode ${inode}`);
      holders.add(`${lock.session} ${inode}`);
      for (const other of locks.slice(at + 1))
        if (conflict(lock, other)) report(`two locks on inode ${inode} conflict`);
    }
  }
  const listed = [...state.lockedInodes].flatMap(([session, inodes]) => inodes.map((inode) => `${session} ${inode}`));
  if (listed.length !== holders.size || listed.some((pair) => !holders.has(pair))) {
    report("the sessions' lists of locked inodes do not match the locks");
  }
}

function conflict(a: HeldLock, b: HeldLock): boolean {
  if (a.table !== b.table || a.start > b.end || b.start > a.end) return false;
  const sameHolder = a.session === b.session && a.owner === b.owner;
  return sameHolder || a.mode === "write" || b.mode === "write";
}
