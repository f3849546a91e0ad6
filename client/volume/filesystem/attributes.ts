import type { CommandOf } from "../../../core/commands.ts";
import { type Inode, NO_VERSION } from "../../../core/ids.ts";
import type { AttributesReply, Caller, Handlers, Result, SetAttributes } from "../handlers.ts";
import { attributesOf, type Done } from "../metadata/client-session.ts";
import { deferrable } from "./deferred-changes.ts";
import type { MountState } from "./mount-state.ts";
import { now } from "./writers.ts";

type AttributeHandlers = Pick<Handlers, "getattr" | "setattr" | "statfs">;

const STAT_BLOCK_BYTES = 4096;
/** A bucket has no capacity, but df(1) shows one. */
const CAPACITY_BLOCKS = 2 ** 38;
const CAPACITY_INODES = 2 ** 36;

/** Attributes, and how full the volume is. */
export function attributeHandlers(state: MountState): AttributeHandlers {
  const { nodes, reads, kernel } = state;
  return {
    async getattr(caller, inode) {
      // The attributes of an open file are as new as its open, and every change since then was pushed.
      const node = nodes.get(inode);
      if (node?.attributes !== undefined && node.handles > 0 && !node.stale && state.router.watched) {
        return kernel.attributesReply(node.attributes, NO_VERSION);
      }
      const found = await reads.attributes(inode, { freshness: "committed", interrupt: caller });
      return typeof found === "string" ? found : kernel.attributesReply(found.attributes, found.version);
    },

    async setattr(caller, inode, changes): Promise<Result<AttributesReply>> {
      const later = deferred(state, inode, changes);
      if (later !== undefined) return later;
      const { handle: _, killPrivileges, ...rest } = changes;
      await nodes.get(inode)?.writer?.commit();
      const command = { kind: "setattr", inode, ...rest, killPrivileges: killPrivileges || undefined } as const;
      const done = await setAttributes(state, caller, command);
      return typeof done === "string" ? done : kernel.attributesReply(attributesOf(done), done.version);
    },

    async statfs(caller) {
      const usage = await reads.usage(caller);
      if (typeof usage === "string") return usage;
      const used = Math.ceil(usage.bytes / STAT_BLOCK_BYTES);
      return {
        blockBytes: STAT_BLOCK_BYTES,
        blocks: CAPACITY_BLOCKS,
        blocksFree: Math.max(0, CAPACITY_BLOCKS - used),
        inodes: CAPACITY_INODES,
        inodesFree: Math.max(0, CAPACITY_INODES - usage.inodes),
      };
    },
  };
}

/**
 * Leaves a change of owner, mode or times to the next commit of the file. cp -a, tar and rsync make these changes while
 * they have the file open, and then close it: one commit serves both. Undefined where the change must be committed now:
 * the file is not open, or is neither new nor dirty.
 */
function deferred(state: MountState, inode: Inode, changes: SetAttributes): AttributesReply | undefined {
  const node = state.nodes.get(inode);
  if (node?.attributes === undefined || node.stale || node.handles === 0) return undefined;
  if (!node.fresh && node.writer?.uncommitted !== true) return undefined;
  const writer = state.writers.of(node);
  const later = deferrable(changes, writer.overMode(node.attributes.mode), now);
  if (later === undefined) return undefined;
  writer.defer(later);
  return state.kernel.attributesReply(node.attributes, NO_VERSION);
}

/** Repeats the command until the size is reached: one command truncates a bounded number of chunks (core/files.ts). */
export async function setAttributes(
  state: MountState,
  caller: Caller,
  command: CommandOf<"setattr">,
): Promise<Result<Done>> {
  for (;;) {
    const done = await state.session.mutate(command, { interrupt: caller });
    if (typeof done === "string") return done;
    const attributes = state.kernel.noteOwnChange(done);
    if (command.size === undefined || attributes.size <= command.size) return done;
  }
}
