import type { DirectoryEntry, HeldLock, SessionRecord, Volume } from "../codec/records.ts";
import type { ChunkValue, SliceRecord } from "../codec/values.ts";
import type { Attributes } from "../commands.ts";
import type { ByteString, Inode, SessionId, SliceId } from "../ids.ts";

/** Everything of a state, decoded, as the checks look at it. */
export interface Snapshot {
  readonly volume: Volume;
  readonly hash: { readonly stored: string | undefined; readonly computed: string };
  readonly attributes: Map<Inode, Attributes>;
  readonly entries: (DirectoryEntry & { readonly parent: Inode; readonly name: ByteString })[];
  readonly extraLinks: Map<Inode, { readonly parent: Inode; readonly name: ByteString }[]>;
  readonly chunks: (ChunkValue & { readonly inode: Inode; readonly index: number })[];
  readonly slices: Map<SliceId, SliceRecord>;
  readonly xattrs: Map<Inode, number>;
  readonly symlinks: Map<Inode, ByteString>;
  readonly sessions: Map<SessionId, SessionRecord>;
  readonly outcomePages: { readonly session: SessionId; readonly page: number }[];
  readonly lockedInodes: Map<SessionId, readonly Inode[]>;
  readonly locks: Map<Inode, readonly HeldLock[]>;
  readonly orphans: Map<Inode, number>;
  readonly epochs: Set<number>;
  readonly regions: Set<number>;
}

/** Says what is not true. */
export type Complain = (sentence: string) => void;
