/** The input and output of the state machine: commands, their stamps and outcomes, and the values in them. */

import type { ErrnoCode } from "./errno.ts";
import type { ByteString, EpochCode, Inode, RegionIndex, Sequence, SessionId, SliceId, Time, Version } from "./ids.ts";

export type InodeKind = "file" | "directory" | "symlink" | "fifo" | "character" | "block" | "socket";

export interface Attributes {
  readonly inode: Inode;
  readonly kind: InodeKind;
  /** Where copies of the content are kept; a new inode gets its directory's. 0: the volume's default, and the only one yet. */
  readonly policy: number;
  /** Permission bits with set-uid, set-gid and sticky (07777); the type is in `kind`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Bytes. For a symlink the target's length; for a directory 4096. */
  readonly size: number;
  /** Bytes held in slices and inline data; holes do not count. */
  readonly usedBytes: number;
  /** st_rdev of a character or block device, as the client sent it; 0 for other kinds. */
  readonly device: number;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
  /** Directory: the number of its entries, without "." and "..". */
  readonly entries: number;
  /** Number of extended attributes. */
  readonly xattrs: number;
  /**
   * The directory that holds one of the inode's links; the root's is the root itself. 0 when that link was removed and no
   * other has taken its place (see keys.ts).
   */
  readonly parent: Inode;
  /** Sequence of the last change to the content or the attributes. Caches compare it. */
  readonly changed: Sequence;
}

/** Immutable file content in a bucket, as blocks of `BLOCK_BYTES`; the last one may be shorter. */
export interface Slice {
  readonly id: SliceId;
  readonly bytes: number;
  /** The region whose bucket the client stored it in. */
  readonly home: RegionIndex;
  /** CRC-32C of each block, in order. */
  readonly crc32c: readonly number[];
}

/** A contiguous range of a file, to be written. `offset`: bytes in the file. Must not cross the end of a chunk (64 MiB). */
export type Extent =
  | { readonly kind: "inline"; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: "slice"; readonly offset: number; readonly slice: Slice };

export type TimeChange = Time | "now";

/**
 * Why an epoch begins. The sequencer judges it against the position in the changelog (core/sequencer.ts).
 * - `sealed`: the epoch before was sealed to this region
 * - `resumed`: the region that made the seal continues; `declined` is the version of the seal that its target has declined
 * - `counters`: the primary begins its next epoch, with id counters of its own
 * - `forced`: the region was promoted without the primary
 */
export type Beginning =
  | { readonly how: "sealed" | "counters" | "forced" }
  | { readonly how: "resumed"; readonly declined: Version };

/** A change of the tree, as data. The time, the request's number and the epoch are in the entry's stamp (Stamp). */
export type Command =
  // The volume
  | {
      readonly kind: "format";
      readonly uuid: string;
      readonly volume: string;
      readonly regions: readonly string[];
      readonly primary: RegionIndex;
      /** The feature level that the volume begins with. */
      readonly features: number;
    }
  | ({ readonly kind: "beginEpoch"; readonly epoch: EpochCode } & Beginning)
  | { readonly kind: "seal"; readonly to: RegionIndex }
  | { readonly kind: "setFeatures"; readonly level: number }
  | { readonly kind: "regionProgress"; readonly region: RegionIndex; readonly version: Version }
  // Sessions. The client draws the id (random, below 2^53), so that a retry opens the same session.
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
      /** When the application wrote. Without it: the stamp's time. */
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
  // Advisory locks: POSIX byte ranges (`end` is inclusive; 2^53-1 is the end of the file) or flock(2)
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
  // Removes an inode without links and open handles, in steps. The leader finds the keys: apply reads single keys only.
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
  setFeatures: { code: 19, keepsOutcome: false, fromClient: false },
};

/** Added to a command by the leader that proposes it; part of the log entry. */
export interface Stamp {
  readonly epoch: EpochCode;
  readonly now: Time;
  /** 0: proposed by the servers themselves; no outcome is kept. */
  readonly session: SessionId;
  /** Number of the request in its session, from 1. */
  readonly request: number;
  /** The client has the answers to all requests below this number: their outcomes may be dropped. */
  readonly lowWater: number;
}

/** The result of a committed command: deterministic, the same in every region, and kept for retries. */
export type Outcome =
  | { readonly ok: false; readonly error: ErrnoCode | "NOSESSION" }
  | {
      readonly ok: true;
      /** Attributes after the command, of the inode that was made, linked, changed or renamed. */
      readonly attributes?: Attributes;
      /** grantSlices: the ids `first` … `first + count - 1`. */
      readonly grant?: { readonly first: SliceId; readonly count: number };
      /** unlink, rmdir, a rename that replaces: the inode that lost this name. reap: the inode that was removed. */
      readonly removed?: Inode;
    };
