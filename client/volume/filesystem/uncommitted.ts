import type { Attributes } from "../../../core/commands.ts";
import type { Time } from "../../../core/ids.ts";
import { withoutPrivileges } from "../../../core/privileges.ts";
import { type DeferredChanges, withChanges } from "./deferred-changes.ts";
import type { DirtyRun } from "./dirty-run.ts";

/** What a commit will make of a file. */
export interface Uncommitted {
  readonly runs: readonly DirtyRun[];
  /** When the runs were written. */
  readonly mtime: Time | undefined;
  readonly killPrivileges: boolean;
  readonly changes: DeferredChanges | undefined;
}

/** The attributes as these commits will leave them, in their order; but for the change time. */
export function overUncommitted(attributes: Attributes, commits: readonly Uncommitted[]): Attributes {
  const runs = commits.flatMap((commit) => commit.runs);
  const usedBytes = attributes.usedBytes + addedBytes(runs, attributes);
  return commits.reduce(overOne, { ...attributes, usedBytes });
}

function overOne(attributes: Attributes, commit: Uncommitted): Attributes {
  const { runs, mtime, changes } = commit;
  const size = runs.reduce((end, run) => Math.max(end, run.end), attributes.size);
  const written = (runs.length > 0 ? mtime : undefined) ?? attributes.mtime;
  return { ...withChanges({ ...attributes, size, mtime: written }, changes), mode: modeAfter(attributes.mode, commit) };
}

/** The mode that the commit will leave. */
export function modeAfter(mode: number, { killPrivileges, changes }: Uncommitted): number {
  return changes?.mode ?? (killPrivileges ? withoutPrivileges(mode) : mode);
}

/** How many bytes more the file will hold. Exact but for writes into holes within it, of which it is the most. */
function addedBytes(runs: readonly DirtyRun[], { size, usedBytes }: Attributes): number {
  let inside = 0;
  let beyond = 0;
  let at = 0;
  for (const { offset, end } of [...runs].sort((a, b) => a.offset - b.offset)) {
    const from = Math.max(at, offset);
    inside += Math.max(0, Math.min(end, size) - from);
    beyond += Math.max(0, end - Math.max(from, size));
    at = Math.max(at, end);
  }
  return beyond + Math.min(inside, Math.max(0, size - usedBytes));
}

export function isSameTime(a: Time, b: Time): boolean {
  return a.seconds === b.seconds && a.nanoseconds === b.nanoseconds;
}
