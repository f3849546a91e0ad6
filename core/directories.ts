/**
 * The commands on names; rename is in rename.ts. The client's kernel checks permissions. Errors common to all:
 * - of the parent: ESTALE: no such inode; ENOTDIR; ENOENT: it was removed, and is still open
 * - of the name: EINVAL, ENAMETOOLONG; EPERM: it is reserved (reserved.ts)
 */

import type { Attributes, CommandOf, Outcome } from "./commands.ts";
import { type Context, fail, type Handlers, usableDirectory } from "./context.ts";
import type { ErrnoCode } from "./errno.ts";
import { COUNTER_LIMIT, DIRECTORY_LINKS_MAX, FILE_LINKS_MAX, type Inode, idInEpoch, SYMLINK_BYTES_MAX } from "./ids.ts";
import { addLink, changeDirectory, nameError, removeLink } from "./links.ts";
import { rename } from "./rename.ts";

export const DIRECTORY_BYTES = 4096;
const SET_GID = 0o2000;
const ID_MAX = 2 ** 32 - 1;

export const directoryHandlers: Handlers<"make" | "link" | "unlink" | "rmdir" | "rename"> = {
  make,
  link,
  unlink,
  rmdir,
  rename,
};

/** mknod(2), mkdir(2), symlink(2). EEXIST, EMLINK; ENOENT for an empty target; ENOSPC: the epoch's counter is exhausted. */
function make(context: Context, command: CommandOf<"make">): Outcome {
  const { tree, stamp, sequence, effects } = context;
  const parent = usableDirectory(tree, command.parent);
  if (typeof parent === "string") return fail(parent);
  const error = makeError(command);
  if (error !== undefined) return fail(error);
  if (tree.entry(command.parent, command.name) !== undefined) return fail("EEXIST");
  const isDirectory = command.inodeKind === "directory";
  if (isDirectory && parent.links >= DIRECTORY_LINKS_MAX) return fail("EMLINK");
  const volume = tree.volume!;
  if (volume.nextInode >= COUNTER_LIMIT) return fail("ENOSPC");

  const inode = idInEpoch(volume.version.epoch, volume.nextInode) as Inode;
  tree.putVolume({ ...volume, nextInode: volume.nextInode + 1, inodes: volume.inodes + 1 });
  const attributes = newAttributes(inode, parent, command, stamp.now, sequence);
  tree.insertAttributes(attributes);
  if (command.inodeKind === "symlink") tree.putSymlink(inode, command.target);
  tree.putEntry(command.parent, command.name, { inode, kind: command.inodeKind });
  changeDirectory(context, parent, { entries: 1, links: isDirectory ? 1 : 0 });
  effects.entry(command.parent, command.name);
  return { ok: true, attributes };
}

function makeError(command: CommandOf<"make">): ErrnoCode | undefined {
  if (command.uid > ID_MAX || command.gid > ID_MAX) return "EINVAL";
  if (command.inodeKind === "symlink") {
    if (command.target === "") return "ENOENT";
    if (command.target.length > SYMLINK_BYTES_MAX) return "ENAMETOOLONG";
  }
  return nameError(command);
}

/** In a directory with set-gid, a new inode inherits the group, and a new directory also the bit (inode(7)). */
function newAttributes(
  inode: Inode,
  parent: Attributes,
  command: CommandOf<"make">,
  now: Attributes["ctime"],
  changed: Attributes["changed"],
): Attributes {
  const kind = command.inodeKind;
  const inherits = (parent.mode & SET_GID) !== 0;
  const mode = kind === "symlink" ? 0o777 : command.mode & 0o7777;
  return {
    kind,
    policy: parent.policy,
    inode,
    mode: inherits && kind === "directory" ? mode | SET_GID : mode,
    uid: command.uid,
    gid: inherits ? parent.gid : command.gid,
    links: kind === "directory" ? 2 : 1,
    size: kind === "directory" ? DIRECTORY_BYTES : kind === "symlink" ? command.target.length : 0,
    usedBytes: 0,
    device: kind === "character" || kind === "block" ? command.device : 0,
    atime: now,
    mtime: now,
    ctime: now,
    entries: 0,
    xattrs: 0,
    parent: parent.inode,
    changed,
  };
}

/** link(2). EEXIST, EMLINK; EPERM for a directory; ENOENT for an inode that has lost its last link. */
function link(context: Context, command: CommandOf<"link">): Outcome {
  const { tree, effects } = context;
  const inode = tree.attributes(command.inode);
  if (inode === undefined) return fail("ESTALE");
  const parent = usableDirectory(tree, command.parent);
  if (typeof parent === "string") return fail(parent);
  const error = nameError(command);
  if (error !== undefined) return fail(error);
  if (tree.entry(command.parent, command.name) !== undefined) return fail("EEXIST");
  if (inode.kind === "directory") return fail("EPERM");
  if (inode.links === 0) return fail("ENOENT");
  if (inode.links >= FILE_LINKS_MAX) return fail("EMLINK");

  const attributes = addLink(context, inode, command);
  tree.putEntry(command.parent, command.name, { inode: inode.inode, kind: inode.kind });
  changeDirectory(context, parent, { entries: 1, links: 0 });
  effects.entry(command.parent, command.name);
  return { ok: true, attributes };
}

/** unlink(2). ENOENT; EISDIR for a directory, as on Linux (POSIX: EPERM). */
function unlink(context: Context, command: CommandOf<"unlink">): Outcome {
  const { tree, effects } = context;
  const parent = usableDirectory(tree, command.parent);
  if (typeof parent === "string") return fail(parent);
  const error = nameError(command);
  if (error !== undefined) return fail(error);
  const entry = tree.entry(command.parent, command.name);
  if (entry === undefined) return fail("ENOENT");
  if (entry.kind === "directory") return fail("EISDIR");

  tree.putEntry(command.parent, command.name, undefined);
  removeLink(context, tree.attributes(entry.inode)!, command);
  changeDirectory(context, parent, { entries: -1, links: 0 });
  effects.entry(command.parent, command.name);
  return { ok: true, removed: entry.inode };
}

/** rmdir(2). ENOENT, ENOTDIR, ENOTEMPTY. */
function rmdir(context: Context, command: CommandOf<"rmdir">): Outcome {
  const { tree, effects } = context;
  const parent = usableDirectory(tree, command.parent);
  if (typeof parent === "string") return fail(parent);
  const error = nameError(command);
  if (error !== undefined) return fail(error);
  const entry = tree.entry(command.parent, command.name);
  if (entry === undefined) return fail("ENOENT");
  if (entry.kind !== "directory") return fail("ENOTDIR");
  const directory = tree.attributes(entry.inode)!;
  if (directory.entries > 0) return fail("ENOTEMPTY");

  tree.putEntry(command.parent, command.name, undefined);
  removeLink(context, directory, command);
  changeDirectory(context, parent, { entries: -1, links: -1 });
  effects.entry(command.parent, command.name);
  return { ok: true, removed: entry.inode };
}
