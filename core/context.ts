import type { Attributes, CommandKind, CommandOf, Outcome, Stamp } from "./commands.ts";
import type { EffectsBuilder } from "./effects.ts";
import type { ErrnoCode } from "./errno.ts";
import type { Inode, Sequence, Version } from "./ids.ts";
import type { Position } from "./sequencer.ts";
import type { Tree } from "./tree.ts";

/** What a handler works with. A handler checks everything first and changes the tree only when it will succeed. */
export interface Context {
  readonly tree: Tree;
  readonly stamp: Stamp;
  /** The sequence that the command takes. */
  readonly sequence: Sequence;
  /** The version before the command, and where the changelog stands after it. */
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

/** Puts changed attributes: `changed` and the push to caches go with it. `content`: the data or the entries too. */
export function putChanged(context: Context, attributes: Attributes, content: boolean): Attributes {
  const changed = { ...attributes, changed: context.sequence };
  context.tree.putAttributes(changed);
  context.effects.inode(changed.inode, content);
  return changed;
}

/** A directory that can be looked into: ESTALE when the inode is gone, ENOENT when it was removed but is still open. */
export function usableDirectory(tree: Tree, inode: Inode): Attributes | ErrnoCode {
  const directory = tree.attributes(inode);
  if (directory === undefined) return "ESTALE";
  if (directory.kind !== "directory") return "ENOTDIR";
  return directory.links === 0 ? "ENOENT" : directory;
}

/** A regular file, to change its content. */
export function regularFile(tree: Tree, inode: Inode): Attributes | ErrnoCode {
  const file = tree.attributes(inode);
  if (file === undefined) return "ESTALE";
  if (file.kind === "directory") return "EISDIR";
  return file.kind === "file" ? file : "EINVAL";
}
