import type { ByteString, Inode } from "../../core/ids.ts";
import { EXPIRE_ONLY, NOTIFY_INVAL_ENTRY, NOTIFY_INVAL_INODE, NOTIFY_PRUNE, OUT_HEADER_BYTES } from "./protocol.ts";

/** struct fuse_out_header of a notification: `unique` is 0, and `error` is the notification code. */
function header(bytes: Buffer, code: number): void {
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(code, 4);
}

function putU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value >>> 0, at);
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

/**
 * struct fuse_notify_inval_inode_out. Offset 0 invalidates the attributes and all pages, offset -1 only the attributes.
 */
export function invalidateInodeMessage(inode: Inode, content: boolean): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_BYTES + 24);
  header(bytes, NOTIFY_INVAL_INODE);
  putU64(bytes, inode, 16);
  if (!content) bytes.fill(0xff, 24, 32);
  return bytes;
}

/** The pages of a range, and the attributes. `length` is not 0, which would stand for the rest of the file. */
export function invalidatePagesMessage(inode: Inode, offset: number, length: number): Buffer {
  const bytes = invalidateInodeMessage(inode, true);
  putU64(bytes, offset, 24);
  putU64(bytes, length, 32);
  return bytes;
}

/** struct fuse_notify_prune_out, followed by the inode numbers. */
export function pruneMessage(inodes: readonly Inode[]): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_BYTES + 16 + inodes.length * 8);
  header(bytes, NOTIFY_PRUNE);
  bytes.writeUInt32LE(inodes.length, 16);
  for (const [index, inode] of inodes.entries()) putU64(bytes, inode, 32 + index * 8);
  return bytes;
}

/** struct fuse_notify_inval_entry_out, followed by the name and a NUL. Drops the entry, or only ends its validity. */
export function invalidateEntryMessage(parent: Inode, name: ByteString, how: "drop" | "expire"): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_BYTES + 16 + name.length + 1);
  header(bytes, NOTIFY_INVAL_ENTRY);
  putU64(bytes, parent, 16);
  bytes.writeUInt32LE(name.length, 24);
  if (how === "expire") bytes.writeUInt32LE(EXPIRE_ONLY, 28);
  bytes.write(name, 32, "latin1");
  return bytes;
}
