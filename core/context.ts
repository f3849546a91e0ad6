import type { Attributes, CommandKind, CommandOf, Outcome, Stamp } from "./commands.ts";
import type { EffectsBuilder } from "./effects.ts";
import type { ErrnoCode } from "./errno.ts";
import type { Inode, Sequence, Version } from "./ids.ts";
import type { Position } from "./sequencer.ts";
import type { Tree } from "./tree.ts";

/** What a command's handler works with. A handler checks everything before its first change: nothing is rolled back. */
export interface Context {
  readonly tree: Tree;
  readonly stamp: Stamp;
  /** The sequence of this command. */
  readonly sequence: Sequence;
  /** The version before this command, and the changelog's position after it. */
  readonly previous: Version;
  readonly position: Position;
  readonly effects: EffectsBuilder;
}

export type Handler<K extends CommandKind> = (context: Context, command: CommandOf<K>) => Outcome;
export type Handlers<K extends CommandKind> = { readonly [Kind in K]: Handler<Kind> };

export const DONE: Outcome = { ok: true };

export function fail(error: ErrnoCode | "NOSESSION"): Outcome {
  return { ok: false, error };
}

/**
 * Stores changed attributes with `changed` set, and has caches invalidate them. `content`: also the file's data or the
 * directory's entries. @returns the attributes as stored.
 */
export function putChanged(context: Context, attributes: Attributes, content: boolean): Attributes {
  const changed = { ...attributes, changed: context.sequence };
  context.tree.putAttributes(changed);
  context.effects.inode(changed.inode, content);
  return changed;
}

/** A directory whose entries may be read and changed. ESTALE: no such inode; ENOENT: it was removed, and is still open. */
export function usableDirectory(tree: Tree, inode: Inode): Attributes | ErrnoCode {
  const directory = tree.attributes(inode);
  if (directory === undefined) return "ESTALE";
  if (directory.kind !== "directory") return "ENOTDIR";
  return directory.links === 0 ? "ENOENT" : directory;
}

/** A regular file, whose content may be changed. ESTALE: no such inode; EINVAL: neither a file nor a directory. */
export function regularFile(tree: Tree, inode: Inode): Attributes | ErrnoCode {
  const file = tree.attributes(inode);
  if (file === undefined) return "ESTALE";
  if (file.kind === "directory") return "EISDIR";
  return file.kind === "file" ? file : "EINVAL";
}
