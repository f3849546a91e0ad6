import type { DirectoryEntry } from "./codec/records.ts";
import type { Attributes, CommandOf, Outcome } from "./commands.ts";
import { type Context, fail, usableDirectory } from "./context.ts";
import type { ErrnoCode } from "./errno.ts";
import { DIRECTORY_LINKS_MAX, type Inode, ROOT_INODE } from "./ids.ts";
import { changeDirectory, moveLink, nameError, type Place, removeLink } from "./links.ts";
import type { Tree } from "./tree.ts";

/** rename(2) and renameat2(2); errors in the order of do_renameat2 and vfs_rename in the kernel's fs/namei.c. */
export function rename(context: Context, command: CommandOf<"rename">): Outcome {
  const { tree } = context;
  const from: Place = { parent: command.parent, name: command.name };
  const to: Place = { parent: command.newParent, name: command.newName };
  const error = placeError(tree, from) ?? placeError(tree, to);
  if (error !== undefined) return fail(error);
  const source = tree.entry(from.parent, from.name);
  if (source === undefined) return fail("ENOENT");
  const target = tree.entry(to.parent, to.name);
  if (command.mode === "noreplace" && target !== undefined) return fail("EEXIST");
  if (source.kind === "directory" && isWithin(tree, to.parent, source.inode)) return fail("EINVAL");
  if (command.mode !== "exchange") return replace(context, { from, to, source, target });
  if (target === undefined) return fail("ENOENT");
  if (target.kind === "directory" && isWithin(tree, from.parent, target.inode)) return fail("EINVAL");
  return exchange(context, { from, to, source, target });
}

interface Move {
  readonly from: Place;
  readonly to: Place;
  readonly source: DirectoryEntry;
  readonly target: DirectoryEntry | undefined;
}

function placeError(tree: Tree, place: Place): ErrnoCode | undefined {
  const parent = usableDirectory(tree, place.parent);
  return typeof parent === "string" ? parent : nameError(place);
}

/** Whether `inode` is `ancestor` or below it. Reads one inode for each level up to the root. */
function isWithin(tree: Tree, inode: Inode, ancestor: Inode): boolean {
  for (let at = inode; at !== ROOT_INODE; at = tree.attributes(at)!.parent) {
    if (at === ancestor) return true;
  }
  return ancestor === ROOT_INODE;
}

function isDirectory(entry: DirectoryEntry | undefined): 0 | 1 {
  return entry?.kind === "directory" ? 1 : 0;
}

function replace(context: Context, { from, to, source, target }: Move): Outcome {
  const { tree, effects } = context;
  const moved = tree.attributes(source.inode)!;
  if (target?.inode === source.inode) return { ok: true, attributes: moved };
  const replaced = target && tree.attributes(target.inode)!;
  const error = replaceError(source, replaced);
  if (error !== undefined) return fail(error);
  const linksOfNewParent = isDirectory(source) - isDirectory(target);
  if (from.parent !== to.parent && wouldOverflow(tree, to.parent, linksOfNewParent)) return fail("EMLINK");

  if (replaced !== undefined) removeLink(context, replaced, to);
  const attributes = moveLink(context, moved, from, to);
  tree.putEntry(from.parent, from.name, undefined);
  tree.putEntry(to.parent, to.name, source);
  changeDirectory(context, tree.attributes(from.parent)!, { entries: -1, links: -isDirectory(source) });
  changeDirectory(context, tree.attributes(to.parent)!, {
    entries: replaced === undefined ? 1 : 0,
    links: linksOfNewParent,
  });
  effects.entry(from.parent, from.name);
  effects.entry(to.parent, to.name);
  return { ok: true, attributes, ...(replaced === undefined ? {} : { removed: replaced.inode }) };
}

function replaceError(source: DirectoryEntry, replaced: Attributes | undefined): ErrnoCode | undefined {
  if (replaced === undefined) return undefined;
  if (source.kind !== "directory") return replaced.kind === "directory" ? "EISDIR" : undefined;
  if (replaced.kind !== "directory") return "ENOTDIR";
  return replaced.entries > 0 ? "ENOTEMPTY" : undefined;
}

function wouldOverflow(tree: Tree, directory: Inode, links: number): boolean {
  return links > 0 && tree.attributes(directory)!.links + links > DIRECTORY_LINKS_MAX;
}

function exchange(context: Context, { from, to, source, target }: Move & { readonly target: DirectoryEntry }): Outcome {
  const { tree, effects } = context;
  const moved = tree.attributes(source.inode)!;
  if (target.inode === source.inode) return { ok: true, attributes: moved };
  const links = isDirectory(source) - isDirectory(target);
  if (
    from.parent !== to.parent &&
    (wouldOverflow(tree, to.parent, links) || wouldOverflow(tree, from.parent, -links))
  ) {
    return fail("EMLINK");
  }

  const attributes = moveLink(context, moved, from, to);
  moveLink(context, tree.attributes(target.inode)!, to, from);
  tree.putEntry(from.parent, from.name, target);
  tree.putEntry(to.parent, to.name, source);
  changeDirectory(context, tree.attributes(from.parent)!, { entries: 0, links: -links });
  changeDirectory(context, tree.attributes(to.parent)!, { entries: 0, links });
  effects.entry(from.parent, from.name);
  effects.entry(to.parent, to.name);
  return { ok: true, attributes };
}
