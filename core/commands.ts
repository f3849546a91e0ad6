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

/** What holds for every command of a kind, wherever it is handled. */
export interface CommandTraits {
  /** Identifies the kind on the wire and in the log. Part of the format: never changed, never reused. */
  readonly code: number;
  /**
   * Whether a session's request of this kind is executed exactly once, its outcome being kept for retries. False for
   * commands that are idempotent, or that belong to no session. Nothing is kept under session 0, whatever the kind.
   */
  readonly keepsOutcome: boolean;
  /** Whether a client may send it. The metadata servers alone propose the others. */
  readonly fromClient: boolean;
}

/**
 * What is known of each kind. A new command needs its type in `Command`, a row here, a codec (codec/commands.ts), a handler
 * (apply.ts), a handler in the reference model and a generator (test/core). The compiler names each that is missing.
 */
export const COMMANDS: { readonly [K in CommandKind]: CommandTraits } = {
  format: { code: 0, keepsOutcome: false, fromClient: false },
  beginEpoch: { code: 1, keepsOutcome: false, fromClient: false },
  seal: { code: 2, keepsOutcome: false, fromClient: false },
  regionProgress: { code: 3, keepsOutcome: false, fromClient: false },
  openSession: { code: 4, keepsOutcome: false, fromClient: true },
  closeSession: { code: 5, keepsOutcome: false, fromClient: true },
  grantSlices: { code: 6, keepsOutcome: true, fromClient: true },
  make: { code: 7, keepsOutcome: true, fromClient: true },
  link: { code: 8, keepsOutcome: true, fromClient: true },
  unlink: { code: 9, keepsOutcome: true, fromClient: true },
  rmdir: { code: 10, keepsOutcome: true, fromClient: true },
  rename: { code: 11, keepsOutcome: true, fromClient: true },
  setattr: { code: 12, keepsOutcome: true, fromClient: true },
  write: { code: 13, keepsOutcome: true, fromClient: true },
  fallocate: { code: 14, keepsOutcome: true, fromClient: true },
  setxattr: { code: 15, keepsOutcome: true, fromClient: true },
  removexattr: { code: 16, keepsOutcome: true, fromClient: true },
  lock: { code: 17, keepsOutcome: true, fromClient: true },
  reap: { code: 18, keepsOutcome: true, fromClient: false },
};

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
