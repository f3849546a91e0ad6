import type { Attributes } from "../../../core/commands.ts";
import type { Time } from "../../../core/ids.ts";
import { withoutPrivileges } from "../../../core/privileges.ts";
import type { SetAttributes } from "../handlers.ts";

/** Changes by chmod, chown and utimens that are committed together with the bytes that were written around them. */
export interface DeferredChanges {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly atime?: Time;
  readonly mtime?: Time;
  readonly ctime?: Time;
}

export const SET_UID_OR_GID = 0o6000;

/** The changes of a setattr, if they may be deferred. Undefined if not: a size, or a chown that clears set-user-ID. */
export function deferrable(changes: SetAttributes, mode: number, now: () => Time): DeferredChanges | undefined {
  if (changes.size !== undefined) return undefined;
  const chowns = changes.uid !== undefined || changes.gid !== undefined || changes.killPrivileges === true;
  if (chowns && (mode & SET_UID_OR_GID) !== 0) return undefined;
  const time = (change: Time | "now" | undefined) => (change === "now" ? now() : change);
  const all = {
    mode: changes.mode,
    uid: changes.uid,
    gid: changes.gid,
    atime: time(changes.atime),
    mtime: time(changes.mtime),
    ctime: changes.ctime,
  };
  return Object.fromEntries(Object.entries(all).filter(([, change]) => change !== undefined));
}

/** What is left of changes once the file is written: a write sets the modification time, and may clear set-user-ID. */
export function afterWrite(changes: DeferredChanges, mtime: Time, killPrivileges: boolean): DeferredChanges {
  const { mode } = changes;
  return {
    ...changes,
    ...(changes.mtime !== undefined && { mtime }),
    ...(mode !== undefined && killPrivileges && { mode: withoutPrivileges(mode) }),
  };
}

export function withChanges(attributes: Attributes, changes: DeferredChanges | undefined): Attributes {
  return changes === undefined ? attributes : { ...attributes, ...changes };
}
