import type { CommandOf, Outcome } from "./commands.ts";
import { type Context, fail, type Handlers, putChanged } from "./context.ts";
import { NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX, XATTRS_MAX } from "./ids.ts";
import { isReservedInode } from "./reserved.ts";

export const xattrHandlers: Handlers<"setxattr" | "removexattr"> = { setxattr, removexattr };

/**
 * setxattr(2), in any namespace: the client's kernel checks permissions. ERANGE, E2BIG: the name or the value is too long;
 * EEXIST, ENODATA: as `mode` requires; ENOSPC: the inode has XATTRS_MAX already; EPERM: a reserved inode.
 */
function setxattr(context: Context, command: CommandOf<"setxattr">): Outcome {
  const { tree } = context;
  const inode = tree.attributes(command.inode);
  if (inode === undefined) return fail("ESTALE");
  if (isReservedInode(inode.inode)) return fail("EPERM");
  if (command.name.length === 0 || command.name.length > NAME_BYTES_MAX) return fail("ERANGE");
  if (command.value.length > XATTR_VALUE_BYTES_MAX) return fail("E2BIG");
  const existed = tree.xattr(inode.inode, command.name) !== undefined;
  if (existed && command.mode === "create") return fail("EEXIST");
  if (!existed && command.mode === "replace") return fail("ENODATA");
  if (!existed && inode.xattrs >= XATTRS_MAX) return fail("ENOSPC");

  tree.putXattr(inode.inode, command.name, command.value);
  const xattrs = existed ? inode.xattrs : inode.xattrs + 1;
  return { ok: true, attributes: putChanged(context, { ...inode, xattrs, ctime: context.stamp.now }, false) };
}

/** removexattr(2). ENODATA: no such xattr; EPERM: a reserved inode. */
function removexattr(context: Context, command: CommandOf<"removexattr">): Outcome {
  const { tree } = context;
  const inode = tree.attributes(command.inode);
  if (inode === undefined) return fail("ESTALE");
  if (isReservedInode(inode.inode)) return fail("EPERM");
  if (tree.xattr(inode.inode, command.name) === undefined) return fail("ENODATA");

  tree.putXattr(inode.inode, command.name, undefined);
  const xattrs = inode.xattrs - 1;
  return { ok: true, attributes: putChanged(context, { ...inode, xattrs, ctime: context.stamp.now }, false) };
}
