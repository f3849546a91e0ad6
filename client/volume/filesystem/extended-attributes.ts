import type { Inode } from "../../../core/ids.ts";
import type { Handlers } from "../handlers.ts";
import type { MountState } from "./mount-state.ts";

type XattrHandlers = Pick<Handlers, "getxattr" | "listxattr" | "setxattr" | "removexattr">;

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

/** Extended attributes of any name but system.* (ACLs are not supported). */
export function xattrHandlers(state: MountState): XattrHandlers {
  const { nodes, reads, session, kernel } = state;
  return {
    getxattr(caller, inode, name) {
      // Programs that copy files ask for the ACL of nearly each of them.
      if (name.startsWith("system.")) return "EOPNOTSUPP";
      if (hasNone(state, inode)) return "ENODATA";
      return reads.getXattr(inode, name, caller);
    },

    listxattr: (caller, inode) => reads.listXattrs(inode, caller),

    async setxattr(caller, inode, name, value, flags) {
      if (name.startsWith("system.")) return "EOPNOTSUPP";
      // A write removes file capabilities, so that what was written before this must be committed before it.
      if (name.startsWith("security.")) await nodes.get(inode)?.writer?.commit();
      const mode = flags & XATTR_CREATE ? "create" : flags & XATTR_REPLACE ? "replace" : "either";
      const done = await session.mutate({ kind: "setxattr", inode, name, value, mode }, { interrupt: caller });
      if (typeof done === "string") return done;
      kernel.noteOwnChange(done);
      return true;
    },

    async removexattr(caller, inode, name) {
      if (name.startsWith("system.")) return "EOPNOTSUPP";
      const done = await session.mutate({ kind: "removexattr", inode, name }, { interrupt: caller });
      if (typeof done === "string") return done;
      kernel.noteOwnChange(done);
      return true;
    },
  };
}

/**
 * Whether it is known without a request that an inode has no xattrs: since its open, or because the primary's pushes
 * arrive here. The kernel asks for security.capability before the first write to each file.
 */
function hasNone({ nodes, router }: MountState, inode: Inode): boolean {
  const node = nodes.get(inode);
  if (node === undefined || node.stale || node.attributes?.xattrs !== 0 || !router.watched) return false;
  return node.handles > 0 || router.ownIsPrimary;
}
