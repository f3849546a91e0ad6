import type { ErrnoCode } from "./errno.ts";
import type { ByteString, EpochCode, Inode, RegionIndex, Sequence, SessionId, SliceId, Time } from "./ids.ts";

export type InodeKind = "file" | "directory" | "symlink" | "fifo" | "character" | "block" | "socket";

export interface Attributes {
  readonly inode: Inode;
  readonly kind: InodeKind;
  /** Permission bits with set-uid, set-gid and sticky (07777); the type is in `kind`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Bytes. For a symlink the target's length; for a directory 4096. */
  readonly size: number;
  /** Bytes held by slices and inline data (holes are not counted). */
  readonly usedBytes: number;
  readonly device: number;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
  /** Directory: how many entries it has. */
  readonly entries: number;
  /** How many xattrs it has. */
  readonly xattrs: number;
  /** Directory, or file with one link: where it is. 0 when it has none that is known here (see keys.ts). */
  readonly parent: Inode;
  /** Grows with every change of the content or the attributes: what caches compare. The sequence of that change. */
  readonly changed: Sequence;
}

/** What a slice is made of: immutable, content in blocks of `BLOCK_BYTES`, the last one shorter. */
export interface Slice {
  readonly id: SliceId;
  readonly bytes: number;
  /** The region whose bucket it was first stored in. */
  readonly home: RegionIndex;
  /** CRC-32C of each block, in order. */
  readonly crc32c: readonly number[];
}

/** A contiguous run of a file. Never crosses a chunk (64 MiB). */
export type Extent =
  | { readonly kind: "inline"; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: "slice"; readonly offset: number; readonly slice: Slice };

export type TimeChange = Time | "now";

/** A change of the tree, as data. `now`, the request's number and the epoch are in the entry's stamp (Stamp). */
export type Command =
  // The volume
  | {
      readonly kind: "format";
      readonly uuid: string;
      readonly volume: string;
      readonly regions: readonly string[];
      readonly primary: RegionIndex;
    }
  | { readonly kind: "beginEpoch"; readonly epoch: EpochCode; readonly forced: boolean }
  | { readonly kind: "seal"; readonly to: RegionIndex }
  | { readonly kind: "regionProgress"; readonly region: RegionIndex; readonly sequence: Sequence }
  // Sessions. The id is drawn by the client (random, below 2^53), so that a retry opens the same one.
  | { readonly kind: "openSession"; readonly session: SessionId; readonly client: string; readonly region: RegionIndex }
  | { readonly kind: "closeSession"; readonly session: SessionId }
  | { readonly kind: "grantSlices"; readonly count: number }
  // Names
  | {
      readonly kind: "make";
      readonly parent: Inode;
      readonly name: ByteString;
      readonly inodeKind: InodeKind;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly device: number;
      readonly target: ByteString;
    }
  | { readonly kind: "link"; readonly inode: Inode; readonly parent: Inode; readonly name: ByteString }
  | { readonly kind: "unlink"; readonly parent: Inode; readonly name: ByteString }
  | { readonly kind: "rmdir"; readonly parent: Inode; readonly name: ByteString }
  | {
      readonly kind: "rename";
      readonly parent: Inode;
      readonly name: ByteString;
      readonly newParent: Inode;
      readonly newName: ByteString;
      readonly mode: "replace" | "noreplace" | "exchange";
    }
  // Content and attributes
  | {
      readonly kind: "setattr";
      readonly inode: Inode;
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
      readonly size?: number;
      readonly atime?: TimeChange;
      readonly mtime?: TimeChange;
      readonly ctime?: TimeChange;
      /** Clear set-uid/set-gid as a write by a caller without privilege does (HANDLE_KILLPRIV_V2). */
      readonly killPrivileges?: boolean;
    }
  | {
      readonly kind: "write";
      readonly inode: Inode;
      readonly extents: readonly Extent[];
      /** When the application wrote, if that is not when the command is stamped. */
      readonly mtime?: Time;
      readonly killPrivileges?: boolean;
    }
  | {
      readonly kind: "fallocate";
      readonly inode: Inode;
      readonly mode: "allocate" | "keepSize" | "punch" | "zero";
      readonly offset: number;
      readonly length: number;
    }
  | {
      readonly kind: "setxattr";
      readonly inode: Inode;
      readonly name: ByteString;
      readonly value: Uint8Array;
      readonly mode: "either" | "create" | "replace";
    }
  | { readonly kind: "removexattr"; readonly inode: Inode; readonly name: ByteString }
  // Locks: advisory, POSIX ranges (end inclusive, 2^53-1 = to the end) or flock
  | {
      readonly kind: "lock";
      readonly inode: Inode;
      readonly table: "posix" | "flock";
      readonly owner: string;
      readonly mode: "read" | "write" | "unlock";
      readonly start: number;
      readonly end: number;
      readonly pid: number;
    }
  // An inode without links and without open handles goes away in steps; the leader walks, the command names the keys.
  | {
      readonly kind: "reap";
      readonly inode: Inode;
      readonly chunks: readonly number[];
      readonly xattrs: readonly ByteString[];
    };

export type CommandKind = Command["kind"];
export type CommandOf<K extends CommandKind> = Extract<Command, { kind: K }>;

/** Put on a command by the leader that proposes it; part of the entry. */
export interface Stamp {
  readonly epoch: EpochCode;
  readonly now: Time;
  /** 0: an internal command, without exactly-once bookkeeping. */
  readonly session: SessionId;
  /** Number of the request within the session, from 1. */
  readonly request: number;
  /** All requests below this one have had their answers: their outcomes may be forgotten. */
  readonly lowWater: number;
}

/** What a committed command came to: deterministic, kept for retries, the same in every region. */
export type Outcome =
  | { readonly ok: false; readonly error: ErrnoCode | "NOSESSION" }
  | {
      readonly ok: true;
      /** Of the inode made, linked, changed or renamed, after the command. */
      readonly attributes?: Attributes;
      /** grantSlices: first id and how many. */
      readonly grant?: { readonly first: SliceId; readonly count: number };
      /** unlink, rmdir, rename-over: the inode that lost this name. */
      readonly removed?: Inode;
    };
