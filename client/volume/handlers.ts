import type { Attributes, InodeKind } from "../../core/commands.ts";
import type { ErrnoCode } from "../../core/errno.ts";
import type { ByteString, Inode, Time } from "../../core/ids.ts";

/**
 * The file system's side of the FUSE protocol: client/fuse calls it, client/volume/filesystem implements it. A failure
 * is a value, the errno's name: `typeof result === "string"`. A result that needs no waiting is returned without a
 * promise (a getattr costs 14 µs in all, a promise one of them).
 */
export type Result<T> = T | ErrnoCode;
export type Reply<T> = Result<T> | Promise<Result<T>>;

export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Aborted when the request is given up: interrupted (FUSE_INTERRUPT), or past its deadline. Created on first use. */
  readonly signal: AbortSignal;
}

export interface AttributesReply {
  readonly attributes: Attributes;
  /** How long the kernel may cache them, ms (fuse_attr_out.attr_valid). */
  readonly validMs: number;
}

export interface EntryReply extends AttributesReply {
  /** How long the kernel may cache that the name leads to this inode, ms (fuse_entry_out.entry_valid). */
  readonly entryValidMs: number;
}

export interface OpenReply {
  readonly handle: number;
  /** The pages that the kernel has cached are still valid (FOPEN_KEEP_CACHE). */
  readonly keepCache: boolean;
  readonly directIo?: boolean;
}

export interface DirectoryEntryReply {
  readonly name: ByteString;
  readonly inode: Inode;
  readonly kind: InodeKind;
  /** With READDIRPLUS; absent when the attributes could not be read. */
  readonly entry?: EntryReply;
}

export interface SetAttributes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: Time | "now";
  readonly mtime?: Time | "now";
  readonly ctime?: Time;
  readonly handle?: number;
  readonly killPrivileges?: boolean;
}

export interface LockRange {
  readonly mode: "read" | "write" | "unlock";
  readonly start: number;
  /** Inclusive; Number.MAX_SAFE_INTEGER: to the end of the file. */
  readonly end: number;
  readonly pid: number;
}

export interface StatFsReply {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly inodes: number;
  readonly inodesFree: number;
}

export interface WriteOptions {
  /** Clears set-user-ID, set-group-ID and file capabilities. */
  readonly killPrivileges: boolean;
  /** Not through the kernel's page cache (O_DIRECT of open(2)). */
  readonly direct: boolean;
  /**
   * A direct write with O_DSYNC or O_SYNC: it is answered once it is durable. The kernel sends an FSYNC after every
   * other write with these flags, but not after an asynchronous direct one (io_submit(2)).
   */
  readonly durable: boolean;
  /** Pages of a shared mapping: they go to their offset, also through a handle that appends. */
  readonly writeback: boolean;
}

export interface Handlers {
  lookup(caller: Caller, parent: Inode, name: ByteString): Reply<EntryReply>;
  /** The kernel drops `count` of the lookups that it has counted: one for each entry it was given. */
  forget(inode: Inode, count: number): void;
  getattr(caller: Caller, inode: Inode, handle: number | undefined): Reply<AttributesReply>;
  setattr(caller: Caller, inode: Inode, changes: SetAttributes): Reply<AttributesReply>;
  /** In an object, because a target may be spelled like an errno. */
  readlink(caller: Caller, inode: Inode): Reply<{ readonly target: ByteString }>;
  make(
    caller: Caller,
    parent: Inode,
    name: ByteString,
    what: { kind: InodeKind; mode: number; umask: number; device: number; target: ByteString },
  ): Reply<EntryReply>;
  unlink(caller: Caller, parent: Inode, name: ByteString): Reply<true>;
  rmdir(caller: Caller, parent: Inode, name: ByteString): Reply<true>;
  rename(
    caller: Caller,
    parent: Inode,
    name: ByteString,
    newParent: Inode,
    newName: ByteString,
    mode: "replace" | "noreplace" | "exchange",
  ): Reply<true>;
  link(caller: Caller, inode: Inode, newParent: Inode, newName: ByteString): Reply<EntryReply>;
  /** `flags`: those of open(2), O_TRUNC included (ATOMIC_O_TRUNC), which with `killPrivileges` clears set-user-ID. */
  open(caller: Caller, inode: Inode, flags: number, killPrivileges: boolean): Reply<OpenReply>;
  /** ESTALE: the name exists by now. The kernel then looks it up and checks whether the caller may open it. */
  create(
    caller: Caller,
    parent: Inode,
    name: ByteString,
    mode: number,
    umask: number,
    flags: number,
  ): Reply<{ entry: EntryReply; open: OpenReply }>;
  /** At most `length` bytes, fewer only at the end of the file. `direct`: as in WriteOptions. */
  read(
    caller: Caller,
    inode: Inode,
    handle: number,
    offset: number,
    length: number,
    direct: boolean,
  ): Reply<Uint8Array | readonly Uint8Array[]>;
  /** `data` is valid until the handler has finished. Answers the number of bytes written. */
  write(
    caller: Caller,
    inode: Inode,
    handle: number,
    offset: number,
    data: Uint8Array,
    options: WriteOptions,
  ): Reply<number>;
  /** At each close(2) of a descriptor: stores what was written, or answers the error that close(2) returns. */
  flush(caller: Caller, inode: Inode, handle: number, lockOwner: string): Reply<true>;
  release(caller: Caller, inode: Inode, handle: number, flockOwner: string | undefined): Reply<true>;
  fsync(caller: Caller, inode: Inode, handle: number, dataOnly: boolean): Reply<true>;
  fallocate(caller: Caller, inode: Inode, handle: number, mode: number, offset: number, length: number): Reply<true>;
  opendir(caller: Caller, inode: Inode): Reply<OpenReply>;
  /** Some of the entries after `offset`. 0 is the beginning, with "." and ".."; an empty array is the end. */
  readdir(
    caller: Caller,
    inode: Inode,
    handle: number,
    offset: number,
    plus: boolean,
  ): Reply<readonly (DirectoryEntryReply & { nextOffset: number })[]>;
  releasedir(caller: Caller, inode: Inode, handle: number): Reply<true>;
  fsyncdir(caller: Caller, inode: Inode, handle: number): Reply<true>;
  statfs(caller: Caller): Reply<StatFsReply>;
  getxattr(caller: Caller, inode: Inode, name: ByteString): Reply<Uint8Array>;
  listxattr(caller: Caller, inode: Inode): Reply<readonly ByteString[]>;
  /** `flags`: XATTR_CREATE (1) or XATTR_REPLACE (2), as in setxattr(2). */
  setxattr(caller: Caller, inode: Inode, name: ByteString, value: Uint8Array, flags: number): Reply<true>;
  removexattr(caller: Caller, inode: Inode, name: ByteString): Reply<true>;
  getlk(caller: Caller, inode: Inode, handle: number, owner: string, range: LockRange): Reply<LockRange>;
  setlk(
    caller: Caller,
    inode: Inode,
    handle: number,
    owner: string,
    range: LockRange,
    options: { wait: boolean; flock: boolean },
  ): Reply<true>;
  /** `whence`: SEEK_DATA (3) or SEEK_HOLE (4), as in lseek(2). */
  lseek(caller: Caller, inode: Inode, handle: number, offset: number, whence: number): Reply<number>;
  /** The file system is unmounted; no call follows. */
  destroy(): void;
}

/**
 * Invalidates the kernel's caches (FUSE_NOTIFY_INVAL_*). Each promise resolves once the kernel has done so; none
 * rejects.
 */
export interface KernelCaches {
  /** Attributes, and with `content` also the pages. Attributes alone never wait for a request that holds a page. */
  invalidateInode(inode: Inode, content: boolean): Promise<void>;
  /** The pages of a range. A WRITE of direct I/O may wait for it. */
  invalidatePages(inode: Inode, offset: number, length: number): Promise<void>;
  /** Drops a name that no longer leads where it did. A process whose working directory it was gets ENOENT for it. */
  invalidateEntry(parent: Inode, name: ByteString): Promise<void>;
  /** Ends the validity of a name that may have changed: the kernel asks before it uses it again, and keeps it until then. */
  expireEntry(parent: Inode, name: ByteString): Promise<void>;
  /** Whether the kernel knows `prune` (Linux 6.18). */
  readonly canPrune: boolean;
  /** Asks the kernel to forget inodes. It keeps those that it uses: open, a working directory, a directory of others. */
  prune(inodes: readonly Inode[]): Promise<void>;
}
