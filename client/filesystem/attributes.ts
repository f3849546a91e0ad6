import type { Time } from "../../core/ids.ts";
import type { AttributesReply, Handlers, Result, SetAttributes } from "../handlers.ts";
import type { FileWriter } from "./file-writer.ts";
import { type MountState, now } from "./mount-state.ts";

type AttributeHandlers = Pick<
  Handlers,
  "getattr" | "setattr" | "statfs" | "getxattr" | "listxattr" | "setxattr" | "removexattr" | "forget"
>;

const STAT_BLOCK_BYTES = 4096;
/** A bucket has no end; df(1) wants one. */
const CAPACITY_BLOCKS = 2 ** 38;
const CAPACITY_INODES = 2 ** 36;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

/** Attributes, extended attributes, and how full the volume is. */
export function attributeHandlers(state: MountState): AttributeHandlers {
  const { nodes, reads, session } = state;
  return {
    forget: (inode, count) => nodes.forget(inode, count),

    async getattr(caller, inode) {
      const found = await reads.attributes(inode, { freshness: "committed", interrupt: caller });
      return typeof found === "string" ? found : state.tell(found.attributes);
    },

    async setattr(caller, inode, changes): Promise<Result<AttributesReply>> {
      const writer = nodes.get(inode)?.writer;
      if (writer?.dirty) await settleWrites(writer, changes);
      const { handle: _, killPrivileges, ...rest } = changes;
      const command = { kind: "setattr", inode, ...rest, killPrivileges: killPrivileges || undefined } as const;
      const done = await session.mutate(command, { interrupt: caller });
      return typeof done === "string" ? done : state.tell(state.changedHere(done));
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

    getxattr(caller, inode, name) {
      // ACLs are asked for at nearly every copied file.
      if (name.startsWith("system.")) return "EOPNOTSUPP";
      const node = nodes.get(inode);
      const { attributes } = node ?? {};
      if (node?.stale === false && attributes?.xattrs === 0 && state.router.watched && state.router.ownIsPrimary) {
        return "ENODATA";
      }
      return reads.getXattr(inode, name, caller);
    },

    listxattr: (caller, inode) => reads.listXattrs(inode, caller),

    async setxattr(caller, inode, name, value, flags) {
      if (name.startsWith("system.")) return "EOPNOTSUPP";
      const mode = flags & XATTR_CREATE ? "create" : flags & XATTR_REPLACE ? "replace" : "either";
      const done = await session.mutate({ kind: "setxattr", inode, name, value, mode }, { interrupt: caller });
      if (typeof done === "string") return done;
      state.touched(inode);
      return true;
    },

    async removexattr(caller, inode, name) {
      if (name.startsWith("system.")) return "EOPNOTSUPP";
      const done = await session.mutate({ kind: "removexattr", inode, name }, { interrupt: caller });
      if (typeof done === "string") return done;
      state.touched(inode);
      return true;
    },
  };
}

/** Puts a change of attributes in its place among the writes: a size comes after them, a time set replaces theirs. */
async function settleWrites(writer: FileWriter, changes: SetAttributes): Promise<void> {
  if (changes.size !== undefined) await writer.commit();
  else if (changes.mtime !== undefined) await writer.setMtime(asTime(changes.mtime));
}

function asTime(time: Time | "now"): Time {
  return time === "now" ? now() : time;
}
