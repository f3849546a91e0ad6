import type { Attributes, InodeKind } from "../../core/commands.ts";
import type { ErrnoCode } from "../../core/errno.ts";
import type { ByteString, Inode, Time } from "../../core/ids.ts";

/**
 * The file system as the kernel asks for it: what client/fuse calls and client/filesystem answers.
 * A failure is a value, the errno's name: `typeof result === "string"`. An answer that is at hand is returned as it is,
 * without a promise (a getattr costs 14 µs in all, a promise one of them).
 */
export type Result<T> = T | ErrnoCode;
export type Reply<T> = Result<T> | Promise<Result<T>>;

export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Aborted when the kernel interrupts the request (FUSE_INTERRUPT) or its deadline passes. Made on first use. */
  readonly signal: AbortSignal;
}

export interface AttributesReply {
  readonly attributes: Attributes;
  /** How long the kernel may use them unasked, ms. */
  readonly validMs: number;
}

export interface EntryReply extends AttributesReply {
  /** How long the kernel may lead the name to this inode unasked, ms. */
  readonly entryValidMs: number;
}

export interface OpenReply {
  readonly handle: number;
  /** The kernel may keep the pages it has (nothing changed since). */
  readonly keepCache: boolean;
  readonly directIo?: boolean;
}

export interface DirectoryEntryReply {
  readonly name: ByteString;
  readonly inode: Inode;
  readonly kind: InodeKind;
  /** With readdirplus: absent when it could not be had. */
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
  /** Inclusive; Number.MAX_SAFE_INTEGER: to the end. */
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

export interface Handlers {
  lookup(caller: Caller, parent: Inode, name: ByteString): Reply<EntryReply>;
  /** The kernel forgets `count` of the references that lookups and entries gave it. */
  forget(inode: Inode, count: number): void;
  getattr(caller: Caller, inode: Inode, handle: number | undefined): Reply<AttributesReply>;
  setattr(caller: Caller, inode: Inode, changes: SetAttributes): Reply<AttributesReply>;
  /** In an object: a target may read like an errno's name. */
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
  /** `flags`: open(2)'s, as the kernel gives them (O_TRUNC included: ATOMIC_O_TRUNC). */
  open(caller: Caller, inode: Inode, flags: number): Reply<OpenReply>;
  create(
    caller: Caller,
    parent: Inode,
    name: ByteString,
    mode: number,
    umask: number,
    flags: number,
  ): Reply<{ entry: EntryReply; open: OpenReply }>;
  /** At most `length` bytes, fewer only at the end of the file. */
  read(
    caller: Caller,
    inode: Inode,
    handle: number,
    offset: number,
    length: number,
  ): Reply<Uint8Array | readonly Uint8Array[]>;
  /** `data` belongs to the callee after the call only if it copies it before the reply. Answers the bytes taken. */
  write(
    caller: Caller,
    inode: Inode,
    handle: number,
    offset: number,
    data: Uint8Array,
    killPrivileges: boolean,
  ): Reply<number>;
  /** At each close(2) of a descriptor: what it wrote is stored, or the error comes here. */
  flush(caller: Caller, inode: Inode, handle: number, lockOwner: string): Reply<true>;
  release(caller: Caller, inode: Inode, handle: number, flockOwner: string | undefined): Reply<true>;
  fsync(caller: Caller, inode: Inode, handle: number, dataOnly: boolean): Reply<true>;
  fallocate(caller: Caller, inode: Inode, handle: number, mode: number, offset: number, length: number): Reply<true>;
  opendir(caller: Caller, inode: Inode): Reply<OpenReply>;
  /** Entries from `offset` on (0: the beginning, "." and ".." included), as many as are at hand; [] at the end. */
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
  /** `flags`: setxattr(2)'s XATTR_CREATE (1), XATTR_REPLACE (2). */
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
  /** SEEK_DATA (3) and SEEK_HOLE (4). */
  lseek(caller: Caller, inode: Inode, handle: number, offset: number, whence: number): Reply<number>;
  /** The kernel has unmounted; nothing more comes. */
  destroy(): void;
}

/** What the file system tells the kernel, unasked (FUSE_NOTIFY_INVAL_*). Each resolves when the kernel has dropped it. */
export interface KernelCaches {
  /** `content: false`: the attributes only (never waits for a page). */
  invalidateInode(inode: Inode, content: boolean): Promise<void>;
  invalidateEntry(parent: Inode, name: ByteString): Promise<void>;
}
