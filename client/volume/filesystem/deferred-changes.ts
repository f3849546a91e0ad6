import type { Attributes } from "../../../core/commands.ts";
import type { Time } from "../../../core/ids.ts";
import type { SetAttributes } from "../handlers.ts";

/** What chmod, chown and utimens leave to the commit of the bytes that were written around them. */
export interface DeferredChanges {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly atime?: Time;
  readonly mtime?: Time;
  readonly ctime?: Time;
}

const SET_UID_OR_GID = 0o6000;

/** The part of a setattr that may wait; undefined when it may not: a size, or privileges that a chown takes away. */
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

export function withChanges(attributes: Attributes, changes: DeferredChanges | undefined): Attributes {
  return changes === undefined ? attributes : { ...attributes, ...changes };
}
