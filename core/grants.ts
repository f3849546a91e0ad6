/**
 * Slice ids are granted to a session before it uploads, so that blocks are stored under ids that no other slice will have,
 * and blocks under revoked ids are known to be garbage.
 */

import type { IdRange } from "./codec/records.ts";
import type { CommandOf, Outcome } from "./commands.ts";
import { type Context, fail } from "./context.ts";
import { COUNTER_LIMIT, idInEpoch, type SliceId } from "./ids.ts";

/** Ids in one grant. */
const GRANT_IDS_MAX = 65_536;
/** Ranges of a session. Beyond that, the oldest is revoked, with every id in it that was not used. */
const GRANTS_MAX = 1024;

/** Whether the command's session may give the id to a new slice: it was granted to the session, and is not used yet. */
export function isGranted(context: Context, id: SliceId): boolean {
  const session = context.tree.session(context.stamp.session);
  return session?.granted.some((range) => contains(range, id)) === true;
}

function contains(range: IdRange, id: number): boolean {
  return id >= range.first && id < range.first + range.count;
}

/** Removes used ids from the session's grants, so that an id can never name a second slice. */
export function takeGranted(context: Context, ids: readonly SliceId[]): void {
  if (ids.length === 0) return;
  const { tree, stamp } = context;
  const session = tree.session(stamp.session)!;
  let ranges = session.granted;
  for (const id of ids) ranges = ranges.flatMap((range) => (contains(range, id) ? without(range, id) : [range]));
  tree.putSession(stamp.session, { ...session, granted: ranges });
}

function without(range: IdRange, id: number): IdRange[] {
  const before = { first: range.first, count: id - range.first };
  const after = { first: id + 1, count: range.first + range.count - id - 1 };
  return [before, after].filter((part) => part.count > 0);
}

/**
 * Grants `count` (1…65536) new slice ids to the session. EINVAL: no such session, or another count. ENOSPC: the epoch's
 * counter is exhausted; the next epoch has a new one.
 */
export function grantSlices(context: Context, command: CommandOf<"grantSlices">): Outcome {
  const { tree, stamp } = context;
  const session = tree.session(stamp.session);
  if (session === undefined) return fail("EINVAL");
  const { count } = command;
  if (count < 1 || count > GRANT_IDS_MAX) return fail("EINVAL");
  const volume = tree.volume!;
  if (volume.nextSlice + count > COUNTER_LIMIT) return fail("ENOSPC");

  const first = idInEpoch(volume.version.epoch, volume.nextSlice) as SliceId;
  tree.putVolume({ ...volume, nextSlice: volume.nextSlice + count });
  const ranges = withRange(session.granted, { first, count });
  const revoked = Math.max(0, ranges.length - GRANTS_MAX);
  for (const range of ranges.slice(0, revoked)) context.effects.revoke(range);
  tree.putSession(stamp.session, { ...session, granted: ranges.slice(revoked) });
  return { ok: true, grant: { first, count } };
}

function withRange(ranges: readonly IdRange[], added: IdRange): IdRange[] {
  const last = ranges.at(-1);
  if (last !== undefined && last.first + last.count === added.first) {
    return [...ranges.slice(0, -1), { first: last.first, count: last.count + added.count }];
  }
  return [...ranges, added];
}
