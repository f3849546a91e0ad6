import type { InodeKind } from "../../core/commands.ts";

/** Numbers of the kernel's FUSE protocol 7.45 (include/uapi/linux/fuse.h), and of the ABI around it. */
export const FUSE_MAJOR = 7;
export const FUSE_MINOR = 45;

export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;
export type OpcodeName = keyof typeof OPCODE;

export const NOTIFY_INVAL_INODE = 2;
export const NOTIFY_INVAL_ENTRY = 3;
export const NOTIFY_PRUNE = 9;
/** The minor version of the protocol that brought FUSE_NOTIFY_PRUNE (Linux 6.18). */
export const PRUNE_MINOR = 45;
/** fuse_notify_inval_entry_out.flags, since protocol 7.38 (Linux 6.2); earlier kernels ignore it: padding was there. */
export const EXPIRE_ONLY = 1 << 0;

/** struct fuse_in_header, struct fuse_out_header. */
export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;

/** FATTR_*: which members of fuse_setattr_in are valid. */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

export const FOPEN_DIRECT_IO = 1 << 0;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_CACHE_DIR = 1 << 3;

export const GETATTR_FH = 1 << 0;
/** The request names the owner of the caller's locks: so does direct I/O, and nothing that goes through the page cache. */
export const READ_LOCKOWNER = 1 << 1;
export const WRITE_LOCKOWNER = 1 << 1;
export const WRITE_CACHE = 1 << 0;
export const WRITE_KILL_SUIDGID = 1 << 2;
export const OPEN_KILL_SUIDGID = 1 << 0;
export const RELEASE_FLOCK_UNLOCK = 1 << 1;
export const FSYNC_FDATASYNC = 1 << 0;
export const LK_FLOCK = 1 << 0;

export const RENAME_NOREPLACE = 1 << 0;
export const RENAME_EXCHANGE = 1 << 1;

/** fcntl(2)'s lock types, as Linux numbers them. */
export const LOCK_MODES = ["read", "write", "unlock"] as const;

export const O_DSYNC = 0o10000;
/** The errno of an ioctl(2) that is not supported; core/errno.ts has only those that a file system returns. */
export const ENOTTY = 25;

const FORMAT_OF: { readonly [K in InodeKind]: number } = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};
const KIND_OF = new Map(Object.entries(FORMAT_OF).map(([kind, format]) => [format, kind as InodeKind]));

/** The file type bits of st_mode (S_IFMT). */
export function formatOf(kind: InodeKind): number {
  return FORMAT_OF[kind];
}

/** The kind named by st_mode; mknod(2) takes a mode without a type for a regular file. */
export function kindOf(mode: number): InodeKind | undefined {
  const format = mode & 0o170000;
  return format === 0 ? "file" : KIND_OF.get(format);
}
