import type { ErrnoCode } from "../../../core/errno.ts";
import { type ByteString, type Inode, NAME_BYTES_MAX } from "../../../core/ids.ts";
import type { Caller, EntryReply, Handlers, Result } from "../handlers.ts";
import type { MountState } from "./mount-state.ts";

type NameHandlers = Pick<Handlers, "lookup" | "make" | "unlink" | "rmdir" | "rename" | "link" | "readlink">;

/** Names: looking up, making, removing, renaming, linking. */
export function nameHandlers(state: MountState): NameHandlers {
  const { nodes, session, reads } = state;

  async function remove(
    caller: Caller,
    kind: "unlink" | "rmdir",
    parent: Inode,
    name: ByteString,
  ): Promise<Result<true>> {
    const done = await session.mutate({ kind, parent, name }, { interrupt: caller });
    if (typeof done === "string") return done;
    const removed = done.outcome.removed ?? nodes.named(parent, name);
    nodes.unname(parent, name);
    nodes.markStale(parent);
    if (removed !== undefined) nodes.markStale(removed);
    return true;
  }

  return {
    lookup: (caller, parent, name) => lookup(state, caller, parent, name),

    async make(caller, parent, name, what) {
      if (name.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
      const made = await session.mutate(
        {
          kind: "make",
          parent,
          name,
          inodeKind: what.kind,
          mode: what.mode & ~what.umask & 0o7777,
          uid: caller.uid,
          gid: caller.gid,
          device: what.device,
          target: what.target,
        },
        { interrupt: caller },
      );
      if (typeof made === "string") return made;
      nodes.markStale(parent);
      return state.kernel.entryReply(parent, name, state.kernel.noteOwnChange(made));
    },

    unlink: (caller, parent, name) => remove(caller, "unlink", parent, name),
    rmdir: (caller, parent, name) => remove(caller, "rmdir", parent, name),

    async rename(caller, parent, name, newParent, newName, mode) {
      if (newName.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
      const command = { kind: "rename", parent, name, newParent, newName, mode } as const;
      const done = await session.mutate(command, { interrupt: caller });
      if (typeof done === "string") return done;
      const moved = nodes.unname(parent, name);
      const other = nodes.unname(newParent, newName);
      if (moved !== undefined) nodes.name(newParent, newName, moved);
      if (mode === "exchange" && other !== undefined) nodes.name(parent, name, other);
      for (const inode of [parent, newParent, moved, other]) if (inode !== undefined) nodes.markStale(inode);
      return true;
    },

    async link(caller, inode, newParent, newName) {
      if (newName.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
      const command = { kind: "link", inode, parent: newParent, name: newName } as const;
      const done = await session.mutate(command, { interrupt: caller });
      if (typeof done === "string") return done;
      nodes.markStale(newParent);
      return state.kernel.entryReply(newParent, newName, state.kernel.noteOwnChange(done));
    },

    readlink: (caller, inode) => reads.readLink(inode, caller),
  };
}

export async function lookup(
  state: MountState,
  caller: Caller,
  parent: Inode,
  name: ByteString,
): Promise<EntryReply | ErrnoCode> {
  if (name.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
  const found = await state.reads.lookup(parent, name, { freshness: "committed", interrupt: caller });
  state.staleOpens.lookedUp(caller.pid, typeof found === "string" ? undefined : found.attributes.inode);
  if (typeof found !== "string") return state.kernel.entryReply(parent, name, found.attributes);
  if (found === "ENOENT") state.nodes.unname(parent, name);
  return found;
}
