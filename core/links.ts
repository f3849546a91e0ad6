/** Link counts, `Attributes.parent`, P keys and orphans: what every change of a name has in common (see keys.ts). */

import type { Attributes } from "./commands.ts";
import { type Context, putChanged } from "./context.ts";
import type { ErrnoCode } from "./errno.ts";
import { type ByteString, type Inode, NAME_BYTES_MAX } from "./ids.ts";
import { isReservedName } from "./reserved.ts";

/** The place of a link in the tree. */
export interface Place {
  readonly parent: Inode;
  readonly name: ByteString;
}

/** The errno for a name that is not valid, or is reserved (EPERM); undefined for any other. */
export function nameError({ parent, name }: Place): ErrnoCode | undefined {
  if (name.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
  if (name === "" || name === "." || name === "..") return "EINVAL";
  if (name.includes("/") || name.includes("\0")) return "EINVAL";
  return isReservedName(parent, name) ? "EPERM" : undefined;
}

/** Updates a directory's counts and times after a change of its entries. */
export function changeDirectory(
  context: Context,
  before: Attributes,
  by: { readonly entries: number; readonly links: number },
): void {
  const { now } = context.stamp;
  const after = {
    ...before,
    entries: before.entries + by.entries,
    links: before.links + by.links,
    mtime: now,
    ctime: now,
  };
  putChanged(context, after, true);
}

/** Whether `Attributes.parent` records this link, and no P key does. */
function isParentLink(context: Context, inode: Attributes, place: Place): boolean {
  if (inode.kind === "directory") return true;
  if (inode.links === 1 && inode.parent !== 0) return true;
  return !context.tree.hasExtraLink(inode.inode, place.parent, place.name);
}

/** Adds a link to an inode that is not a directory. The caller puts the entry. */
export function addLink(context: Context, inode: Attributes, place: Place): Attributes {
  if (inode.parent !== 0) context.tree.putExtraLink(inode.inode, place.parent, place.name, true);
  const parent = inode.parent !== 0 ? inode.parent : place.parent;
  return putChanged(context, { ...inode, parent, links: inode.links + 1, ctime: context.stamp.now }, false);
}

/** Removes a link; an inode without links becomes an orphan. The caller removes the entry. */
export function removeLink(context: Context, inode: Attributes, place: Place): void {
  const inParent = isParentLink(context, inode, place);
  if (!inParent) context.tree.putExtraLink(inode.inode, place.parent, place.name, false);
  const links = inode.kind === "directory" ? 0 : inode.links - 1;
  const parent = inParent ? (0 as Inode) : inode.parent;
  putChanged(context, { ...inode, links, parent, ctime: context.stamp.now }, false);
  if (links > 0) return;
  context.tree.putOrphan(inode.inode, context.sequence);
  context.effects.orphan(inode.inode);
}

/** Moves a link. The caller changes the entries. */
export function moveLink(context: Context, inode: Attributes, from: Place, to: Place): Attributes {
  const inParent = isParentLink(context, inode, from);
  if (!inParent) {
    context.tree.putExtraLink(inode.inode, from.parent, from.name, false);
    context.tree.putExtraLink(inode.inode, to.parent, to.name, true);
  }
  const parent = inParent ? to.parent : inode.parent;
  return putChanged(context, { ...inode, parent, ctime: context.stamp.now }, false);
}
