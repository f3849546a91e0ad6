import type { Attributes } from "./commands.ts";
import { type Context, putChanged } from "./context.ts";
import type { ErrnoCode } from "./errno.ts";
import { type ByteString, type Inode, NAME_BYTES_MAX } from "./ids.ts";

/** Where a link is. */
export interface Place {
  readonly parent: Inode;
  readonly name: ByteString;
}

/** Why a name cannot be one; undefined when it can. */
export function nameError(name: ByteString): ErrnoCode | undefined {
  if (name.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
  if (name === "" || name === "." || name === "..") return "EINVAL";
  return name.includes("/") || name.includes("\0") ? "EINVAL" : undefined;
}

/** A directory's count of entries and links changed, and so did its times. */
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

/** `Attributes.parent` tells this link (and no P key): see keys.ts. */
function isToldByParent(context: Context, inode: Attributes, place: Place): boolean {
  if (inode.kind === "directory") return true;
  if (inode.links === 1 && inode.parent !== 0) return true;
  return !context.tree.hasExtraLink(inode.inode, place.parent, place.name);
}

/** One more link of something that is no directory; the entry is the caller's. */
export function addLink(context: Context, inode: Attributes, place: Place): Attributes {
  if (inode.parent !== 0) context.tree.putExtraLink(inode.inode, place.parent, place.name, true);
  const parent = inode.parent !== 0 ? inode.parent : place.parent;
  return putChanged(context, { ...inode, parent, links: inode.links + 1, ctime: context.stamp.now }, false);
}

/** The link goes; an inode without links becomes an orphan. The entry is the caller's. */
export function removeLink(context: Context, inode: Attributes, place: Place): void {
  const told = isToldByParent(context, inode, place);
  if (!told) context.tree.putExtraLink(inode.inode, place.parent, place.name, false);
  const links = inode.kind === "directory" ? 0 : inode.links - 1;
  const parent = told ? (0 as Inode) : inode.parent;
  putChanged(context, { ...inode, links, parent, ctime: context.stamp.now }, false);
  if (links > 0) return;
  context.tree.putOrphan(inode.inode, context.sequence);
  context.effects.orphan(inode.inode);
}

/** The link is elsewhere from now on. The entries are the caller's. */
export function moveLink(context: Context, inode: Attributes, from: Place, to: Place): Attributes {
  const told = isToldByParent(context, inode, from);
  if (!told) {
    context.tree.putExtraLink(inode.inode, from.parent, from.name, false);
    context.tree.putExtraLink(inode.inode, to.parent, to.name, true);
  }
  const parent = told ? to.parent : inode.parent;
  return putChanged(context, { ...inode, parent, ctime: context.stamp.now }, false);
}
