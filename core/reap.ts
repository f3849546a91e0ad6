import { ChunkEdit } from "./chunks.ts";
import type { CommandOf, Outcome } from "./commands.ts";
import { type Context, DONE, fail, type Handlers } from "./context.ts";
import { CHUNK_BYTES } from "./ids.ts";
import { dropLocksOfInode } from "./locks.ts";

export const reapHandlers: Handlers<"reap"> = { reap };

/**
 * A step in the removal of an orphan: removes the named chunks and xattrs and, with the last of them, the inode. ENOENT: the
 * inode is not an orphan, or was removed already.
 */
function reap(context: Context, command: CommandOf<"reap">): Outcome {
  const { tree } = context;
  const inode = tree.attributes(command.inode);
  if (inode === undefined || tree.orphan(command.inode) === undefined) return fail("ENOENT");

  const edit = new ChunkEdit(context, inode.inode);
  for (const index of command.chunks) edit.clear(index, index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
  const usedBytes = inode.usedBytes + edit.commit();
  let { xattrs } = inode;
  for (const name of command.xattrs) {
    if (tree.xattr(inode.inode, name) === undefined) continue;
    tree.putXattr(inode.inode, name, undefined);
    xattrs--;
  }
  if (usedBytes > 0 || xattrs > 0) {
    tree.putAttributes({ ...inode, usedBytes, xattrs, changed: context.sequence });
    return DONE;
  }
  dropLocksOfInode(context, inode.inode);
  if (inode.kind === "symlink") tree.putSymlink(inode.inode, undefined);
  tree.putOrphan(inode.inode, undefined);
  tree.dropAttributes(inode.inode);
  const volume = tree.volume!;
  tree.putVolume({ ...volume, inodes: volume.inodes - 1 });
  return { ok: true, removed: inode.inode };
}
