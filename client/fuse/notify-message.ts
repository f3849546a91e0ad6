import type { ByteString, Inode } from "../../core/ids.ts";
import { NOTIFY_INVAL_ENTRY, NOTIFY_INVAL_INODE, OUT_HEADER_BYTES } from "./protocol.ts";

/** A notification is a reply with unique 0 and its code where the error stands. */
function header(bytes: Buffer, code: number): void {
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(code, 4);
}

function putU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value >>> 0, at);
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

/** struct fuse_notify_inval_inode_out. From offset 0 all pages go, and the attributes; offset -1: only these. */
export function invalidateInodeMessage(inode: Inode, content: boolean): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_BYTES + 24);
  header(bytes, NOTIFY_INVAL_INODE);
  putU64(bytes, inode, 16);
  if (!content) bytes.fill(0xff, 24, 32);
  return bytes;
}

/** struct fuse_notify_inval_entry_out, and the name with its NUL. */
export function invalidateEntryMessage(parent: Inode, name: ByteString): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_BYTES + 16 + name.length + 1);
  header(bytes, NOTIFY_INVAL_ENTRY);
  putU64(bytes, parent, 16);
  bytes.writeUInt32LE(name.length, 24);
  bytes.write(name, 32, "latin1");
  return bytes;
}
