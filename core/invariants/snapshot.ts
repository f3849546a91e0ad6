import type { DirectoryEntry, HeldLock, SessionRecord, Volume } from "../codec/records.ts";
import type { ChunkValue, SliceRecord } from "../codec/values.ts";
import type { Attributes } from "../commands.ts";
import type { ByteString, Inode, SessionId, SliceId } from "../ids.ts";

/** A whole state, decoded and grouped by kind of record, as the checks of invariants.ts read it. */
export interface Snapshot {
  readonly volume: Volume;
  /** The state hash as it is stored, and as the pairs give it; 16 hex digits. */
  readonly hash: { readonly stored: string | undefined; readonly computed: string };
  readonly attributes: Map<Inode, Attributes>;
  readonly entries: (DirectoryEntry & { readonly parent: Inode; readonly name: ByteString })[];
  readonly extraLinks: Map<Inode, { readonly parent: Inode; readonly name: ByteString }[]>;
  readonly chunks: (ChunkValue & { readonly inode: Inode; readonly index: number })[];
  readonly slices: Map<SliceId, SliceRecord>;
  /** The number of xattrs. */
  readonly xattrs: Map<Inode, number>;
  readonly symlinks: Map<Inode, ByteString>;
  readonly sessions: Map<SessionId, SessionRecord>;
  readonly outcomePages: { readonly session: SessionId; readonly page: number }[];
  readonly lockedInodes: Map<SessionId, readonly Inode[]>;
  readonly locks: Map<Inode, readonly HeldLock[]>;
  /** The sequence that removed the last link. */
  readonly orphans: Map<Inode, number>;
  readonly epochs: Set<number>;
  readonly regions: Set<number>;
}

/** Reports a violation, as one sentence. */
export type Report = (violation: string) => void;
