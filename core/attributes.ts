import type { Attributes, CommandOf, Outcome, TimeChange } from "./commands.ts";
import { type Context, fail, type Handlers, putChanged } from "./context.ts";
import type { ErrnoCode } from "./errno.ts";
import { truncate } from "./files.ts";
import { FILE_BYTES_MAX, type Time } from "./ids.ts";
import { withoutCapability, withoutPrivileges } from "./privileges.ts";
import { isReservedInode } from "./reserved.ts";

const ID_MAX = 2 ** 32 - 1;

export const attributeHandlers: Handlers<"setattr"> = { setattr };

/**
 * chmod(2), chown(2), truncate(2), utimensat(2). A large truncation takes several commands: see `truncate`. Without any field
 * nothing changes. EISDIR, EINVAL: a size for a directory, or for another inode that is not a file; EFBIG; EPERM: a reserved
 * inode.
 */
function setattr(context: Context, command: CommandOf<"setattr">): Outcome {
  const before = context.tree.attributes(command.inode);
  if (before === undefined) return fail("ESTALE");
  const error = setattrError(before, command);
  if (error !== undefined) return fail(error);
  if (!changesSomething(command)) return { ok: true, attributes: before };
  if (isReservedInode(before.inode)) return fail("EPERM");

  const resizes = command.size !== undefined;
  const chowns = command.uid !== undefined || command.gid !== undefined;
  const sized = command.size !== undefined ? truncate(context, before, command.size) : before;
  const bare = resizes || chowns || command.killPrivileges ? withoutCapability(context, sized) : sized;
  const { now } = context.stamp;
  const after: Attributes = {
    ...bare,
    mode: newMode(before, command, chowns),
    uid: command.uid ?? before.uid,
    gid: command.gid ?? before.gid,
    atime: newTime(command.atime, before.atime, now),
    mtime: newTime(command.mtime, resizes ? now : before.mtime, now),
    ctime: newTime(command.ctime, now, now),
  };
  return { ok: true, attributes: putChanged(context, after, resizes) };
}

function setattrError(before: Attributes, command: CommandOf<"setattr">): ErrnoCode | undefined {
  if ((command.uid ?? 0) > ID_MAX || (command.gid ?? 0) > ID_MAX) return "EINVAL";
  if (command.size === undefined) return undefined;
  if (before.kind === "directory") return "EISDIR";
  if (before.kind !== "file") return "EINVAL";
  return command.size > FILE_BYTES_MAX ? "EFBIG" : undefined;
}

function changesSomething({ kind, inode, ...changes }: CommandOf<"setattr">): boolean {
  return Object.values(changes).some((change) => change !== undefined && change !== false);
}

/** chown clears set-uid and set-gid on everything but directories, also for root (chown_common in the kernel's fs/open.c). */
function newMode(before: Attributes, command: CommandOf<"setattr">, chowns: boolean): number {
  if (command.mode !== undefined) return command.mode & 0o7777;
  const kills = command.killPrivileges === true || chowns;
  return kills && before.kind !== "directory" ? withoutPrivileges(before.mode) : before.mode;
}

function newTime(change: TimeChange | undefined, unchanged: Time, now: Time): Time {
  if (change === undefined) return unchanged;
  return change === "now" ? now : change;
}
