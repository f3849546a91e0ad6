import type { IdRange } from "./codec/records.ts";
import type { CommandOf, Outcome } from "./commands.ts";
import { type Context, fail } from "./context.ts";
import { COUNTER_LIMIT, idInEpoch, type SliceId } from "./ids.ts";

const GRANT_IDS_MAX = 65_536;
/** More ranges than this are not kept: the oldest, with whatever was not used of it, is revoked. */
const GRANTS_MAX = 1024;

/** Whether the id may be used for a new slice by the session of the command: granted to it and not used yet. */
export function granted(context: Context, id: SliceId): boolean {
  const session = context.tree.session(context.stamp.session);
  return session?.granted.some((range) => contains(range, id)) === true;
}

function contains(range: IdRange, id: number): boolean {
  return id >= range.first && id < range.first + range.count;
}

/** An id is used once: what is used leaves the grant, so that it can never name a second slice. */
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

/** A range of new slice ids for the session. ENOSPC: the epoch's counter has run out; the next epoch has a new one. */
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
