import type { Attributes, CommandOf } from "../../../core/commands.ts";
import type { Inode } from "../../../core/ids.ts";
import type { AttributesReply, Caller, Handlers, Result, SetAttributes } from "../handlers.ts";
import { deferrable } from "./deferred-changes.ts";
import type { MountState } from "./mount-state.ts";
import { now } from "./writers.ts";

type AttributeHandlers = Pick<Handlers, "getattr" | "setattr" | "statfs">;

const STAT_BLOCK_BYTES = 4096;
/** A bucket has no end; df(1) wants one. */
const CAPACITY_BLOCKS = 2 ** 38;
const CAPACITY_INODES = 2 ** 36;

/** Attributes, and how full the volume is. */
export function attributeHandlers(state: MountState): AttributeHandlers {
  const { nodes, reads, kernel } = state;
  return {
    async getattr(caller, inode) {
      // What is open here was as new as the open, and every change since is pushed.
      const node = nodes.get(inode);
      if (node?.attributes !== undefined && node.handles > 0 && !node.stale && state.router.watched) {
        return kernel.attributesReply(node.attributes);
      }
      const found = await reads.attributes(inode, { freshness: "committed", interrupt: caller });
      return typeof found === "string" ? found : kernel.attributesReply(found.attributes);
    },

    async setattr(caller, inode, changes): Promise<Result<AttributesReply>> {
      const later = deferred(state, inode, changes);
      if (later !== undefined) return later;
      const { handle: _, killPrivileges, ...rest } = changes;
      await nodes.get(inode)?.writer?.commit();
      const command = { kind: "setattr", inode, ...rest, killPrivileges: killPrivileges || undefined } as const;
      const attributes = await setAttributes(state, caller, command);
      return typeof attributes === "string" ? attributes : kernel.attributesReply(attributes);
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
 * cp -a, tar and rsync set owner, mode and times of each file while they have it open, and then close it: these wait for
 * the close, which commits them with the bytes. Only for a file that has something to commit, or is new.
 */
function deferred(state: MountState, inode: Inode, changes: SetAttributes): AttributesReply | undefined {
  const node = state.nodes.get(inode);
  if (node?.attributes === undefined || node.stale || node.handles === 0) return undefined;
  if (!node.fresh && node.writer?.uncommitted !== true) return undefined;
  const writer = state.writers.of(node);
  const seen = writer.overAttributes(node.attributes);
  const later = deferrable(changes, seen.mode, now);
  if (later === undefined) return undefined;
  writer.defer(later);
  return state.kernel.attributesReply(node.attributes);
}

/** A size may be reached in several commands: see core/files.ts on truncation. */
export async function setAttributes(
  state: MountState,
  caller: Caller,
  command: CommandOf<"setattr">,
): Promise<Result<Attributes>> {
  for (;;) {
    const done = await state.session.mutate(command, { interrupt: caller });
    if (typeof done === "string") return done;
    const attributes = state.kernel.noteOwnChange(done);
    if (command.size === undefined || attributes.size <= command.size) return attributes;
  }
}
