import type { CommandOf } from "../../../core/commands.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import { type ByteString, type Inode, NAME_BYTES_MAX, type Version } from "../../../core/ids.ts";
import type { Caller, EntryReply, Handlers, Result } from "../handlers.ts";
import type { MountState } from "./mount-state.ts";

type NameHandlers = Pick<Handlers, "lookup" | "forget" | "make" | "unlink" | "rmdir" | "rename" | "link" | "readlink">;
type NewInode = Omit<CommandOf<"make">, "kind" | "uid" | "gid">;

/** Names: looking up, making, removing, renaming, linking. */
export function nameHandlers(state: MountState): NameHandlers {
  return {
    lookup: (caller, parent, name) => lookup(state, caller, parent, name),

    forget: (inode, count) => state.nodes.forget(inode, count),

    async make(caller, parent, name, { kind, mode, umask, device, target }) {
      const what = { parent, name, inodeKind: kind, mode: mode & ~umask & 0o7777, device, target };
      const made = await makeInode(state, caller, what);
      return typeof made === "string" ? made : made.entry;
    },

    unlink: (caller, parent, name) => remove(state, caller, { kind: "unlink", parent, name }),
    rmdir: (caller, parent, name) => remove(state, caller, { kind: "rmdir", parent, name }),

    rename: (caller, parent, name, newParent, newName, mode) =>
      rename(state, caller, { kind: "rename", parent, name, newParent, newName, mode }),

    async link(caller, inode, parent, name) {
      if (name.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
      const done = await state.session.mutate({ kind: "link", inode, parent, name }, { interrupt: caller });
      if (typeof done === "string") return done;
      state.nodes.markStale(parent, done.version);
      return state.kernel.entryReply(parent, name, state.kernel.noteOwnChange(done), done.version);
    },

    readlink: (caller, inode) => state.reads.readLink(inode, caller),
  };
}

async function lookup(
  state: MountState,
  caller: Caller,
  parent: Inode,
  name: ByteString,
): Promise<EntryReply | ErrnoCode> {
  if (name.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
  const found = await state.reads.lookup(parent, name, { freshness: "committed", interrupt: caller });
  state.staleOpens.lookedUp(caller.pid, typeof found === "string" ? undefined : found.attributes.inode);
  if (typeof found !== "string") return state.kernel.entryReply(parent, name, found.attributes, found.version);
  if (found === "ENOENT") state.nodes.unname(parent, name);
  return found;
}

/** Makes an inode that belongs to the caller, under a new name. */
export async function makeInode(
  state: MountState,
  caller: Caller,
  what: NewInode,
): Promise<Result<{ entry: EntryReply; version: Version }>> {
  const { parent, name } = what;
  if (name.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
  const command = { kind: "make", ...what, uid: caller.uid, gid: caller.gid } as const;
  const made = await state.session.mutate(command, { interrupt: caller });
  if (typeof made === "string") return made;
  const { version } = made;
  state.nodes.markStale(parent, version);
  return { entry: state.kernel.entryReply(parent, name, state.kernel.noteOwnChange(made), version), version };
}

async function remove(
  { session, nodes }: MountState,
  caller: Caller,
  command: CommandOf<"unlink"> | CommandOf<"rmdir">,
): Promise<Result<true>> {
  const { parent, name } = command;
  const done = await session.mutate(command, { interrupt: caller });
  if (typeof done === "string") return done;
  const removed = done.outcome.removed ?? nodes.named(parent, name);
  nodes.unname(parent, name);
  nodes.markStale(parent, done.version);
  if (removed !== undefined) nodes.markStale(removed, done.version);
  return true;
}

async function rename(
  { session, nodes }: MountState,
  caller: Caller,
  command: CommandOf<"rename">,
): Promise<Result<true>> {
  const { parent, name, newParent, newName, mode } = command;
  if (newName.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
  const done = await session.mutate(command, { interrupt: caller });
  if (typeof done === "string") return done;
  const moved = nodes.unname(parent, name);
  const other = nodes.unname(newParent, newName);
  if (moved !== undefined) nodes.name(newParent, newName, moved);
  if (mode === "exchange" && other !== undefined) nodes.name(parent, name, other);
  for (const inode of [parent, newParent, moved, other]) if (inode !== undefined) nodes.markStale(inode, done.version);
  return true;
}
