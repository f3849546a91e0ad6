import { Cells, type KeyValueView } from "./cells.ts";
import {
  type DirectoryEntry,
  type EpochRecord,
  type HeldLock,
  type OutcomesPage,
  RECORDS,
  type SessionRecord,
  type Volume,
} from "./codec/records.ts";
import type { ChunkValue, SliceRecord } from "./codec/values.ts";
import type { Attributes } from "./commands.ts";
import type { Effects } from "./effects.ts";
import {
  type ByteString,
  type EpochCode,
  type Inode,
  NO_VERSION,
  type RegionIndex,
  type Sequence,
  type SessionId,
  type SliceId,
  type Version,
} from "./ids.ts";
import {
  attributesKey,
  chunkKey,
  entryKey,
  epochKey,
  extraLinkKey,
  HASH_KEY,
  lockedInodesKey,
  locksKey,
  orphanKey,
  outcomesKey,
  regionKey,
  sessionKey,
  sliceKey,
  symlinkKey,
  VOLUME_KEY,
  xattrKey,
} from "./keys.ts";
import { hashPair, type PairHash, StateHash } from "./state-hash.ts";

export type { KeyValueView } from "./cells.ts";
export type { DirectoryEntry, HeldLock, IdRange, SessionRecord, Volume } from "./codec/records.ts";
export type { Effects, Touched } from "./effects.ts";

/** The changes of a turn. A value of `undefined` deletes the key. `puts` is empty when nothing changed. */
export interface TurnResult {
  readonly puts: Map<ByteString, Uint8Array | undefined>;
  /** After the turn; 16 hex digits. */
  readonly stateHash: string;
  /** Those of each command applied in the turn, in order. */
  readonly effects: readonly Effects[];
}

const CACHE_BYTES = 96 * 1024 * 1024;

/**
 * The volume's state, decoded, over a view of its stored pairs. Reads see everything that was applied; `takeTurn` ends a turn
 * (any number of commands) and returns the pairs to write. Equal entries result in equal pairs, no matter where turns end,
 * what is cached, or when the server restarts.
 */
export class Tree {
  readonly #cells: Cells;
  readonly #hash: StateHash;
  #volume: Volume | undefined;
  /** Hash of the volume's pair, as it is part of the state hash; zeros before `format`. */
  readonly #volumeHash: PairHash = { high: 0, low: 0 };
  #volumeDirty = false;
  #effects: Effects[] = [];

  /** `cacheBytes`: approximate bound of the memory for recently used records. */
  constructor(view: KeyValueView, options: { readonly cacheBytes?: number } = {}) {
    this.#cells = new Cells(view, options.cacheBytes ?? CACHE_BYTES);
    const hash = view.get(HASH_KEY);
    this.#hash = new StateHash(hash && RECORDS.hash.decode(hash));
    const volume = view.get(VOLUME_KEY);
    if (volume !== undefined) {
      this.#volume = RECORDS.volume.decode(volume);
      hashPair(VOLUME_KEY, volume, this.#volumeHash);
    }
  }

  /** (0, 0) before `format`. */
  get version(): Version {
    return this.#volume?.version ?? NO_VERSION;
  }

  /** The region that the epoch was sealed to; undefined before the seal. */
  get sealedTo(): RegionIndex | undefined {
    return this.#volume?.sealedTo;
  }

  /** At the end of the last turn; 16 hex digits. */
  get stateHash(): string {
    return this.#hash.toString();
  }

  /** Undefined before `format`. */
  get volume(): Volume | undefined {
    return this.#volume;
  }

  /** The feature level (features.ts); 0 before `format`. Handlers and codecs ask it where a rule depends on the level. */
  get features(): number {
    return this.#volume?.features ?? 0;
  }

  putVolume(volume: Volume): void {
    this.#volume = volume;
    this.#volumeDirty = true;
  }

  addEffects(effects: Effects): void {
    this.#effects.push(effects);
  }

  /** Ends the turn. The view must return its `puts` from then on. */
  takeTurn(): TurnResult {
    const puts = new Map<ByteString, Uint8Array | undefined>();
    this.#cells.flush(this.#hash, puts);
    if (this.#volumeDirty) {
      const bytes = RECORDS.volume.encode(this.#volume!);
      this.#hash.subtract(this.#volumeHash);
      hashPair(VOLUME_KEY, bytes, this.#volumeHash);
      this.#hash.add(this.#volumeHash);
      this.#volumeDirty = false;
      puts.set(VOLUME_KEY, bytes);
      puts.set(HASH_KEY, RECORDS.hash.encode(this.#hash.value));
    }
    const effects = this.#effects;
    this.#effects = [];
    return { puts, stateHash: this.stateHash, effects };
  }

  attributes(inode: Inode): Attributes | undefined {
    return this.#cells.getNumbered(RECORDS.attributes, inode, attributesKey);
  }

  /** The encoded attributes at the end of the last turn; likewise the other `…Bytes`. */
  attributesBytes(inode: Inode): Uint8Array | undefined {
    return this.#cells.bytesNumbered(RECORDS.attributes, inode, attributesKey);
  }

  /** Whether the attributes are in memory. */
  holdsAttributes(inode: Inode): boolean {
    return this.#cells.holdsNumbered(inode);
  }

  putAttributes(attributes: Attributes): void {
    this.#cells.putNumbered(RECORDS.attributes, attributes.inode, attributesKey, attributes);
  }

  /** For a new inode: its number was never used. */
  insertAttributes(attributes: Attributes): void {
    const { inode } = attributes;
    this.#cells.insertNumbered(RECORDS.attributes, inode, attributesKey(inode), attributes);
  }

  dropAttributes(inode: Inode): void {
    this.#cells.putNumbered(RECORDS.attributes, inode, attributesKey, undefined);
  }

  entry(parent: Inode, name: ByteString): DirectoryEntry | undefined {
    return this.#cells.get(RECORDS.entry, entryKey(parent, name));
  }

  putEntry(parent: Inode, name: ByteString, entry: DirectoryEntry | undefined): void {
    this.#cells.put(RECORDS.entry, entryKey(parent, name), entry);
  }

  hasExtraLink(inode: Inode, parent: Inode, name: ByteString): boolean {
    return this.#cells.get(RECORDS.extraLink, extraLinkKey(inode, parent, name)) === true;
  }

  putExtraLink(inode: Inode, parent: Inode, name: ByteString, present: boolean): void {
    this.#cells.put(RECORDS.extraLink, extraLinkKey(inode, parent, name), present ? true : undefined);
  }

  chunk(inode: Inode, index: number): ChunkValue | undefined {
    return this.#cells.get(RECORDS.chunk, chunkKey(inode, index));
  }

  chunkBytes(inode: Inode, index: number): Uint8Array | undefined {
    return this.#cells.bytes(RECORDS.chunk, chunkKey(inode, index));
  }

  putChunk(inode: Inode, index: number, chunk: ChunkValue | undefined): void {
    this.#cells.put(RECORDS.chunk, chunkKey(inode, index), chunk);
  }

  slice(id: SliceId): SliceRecord | undefined {
    return this.#cells.get(RECORDS.slice, sliceKey(id));
  }

  sliceBytes(id: SliceId): Uint8Array | undefined {
    return this.#cells.bytes(RECORDS.slice, sliceKey(id));
  }

  putSlice(id: SliceId, slice: SliceRecord | undefined): void {
    this.#cells.put(RECORDS.slice, sliceKey(id), slice);
  }

  xattr(inode: Inode, name: ByteString): Uint8Array | undefined {
    return this.#cells.get(RECORDS.xattr, xattrKey(inode, name));
  }

  putXattr(inode: Inode, name: ByteString, value: Uint8Array | undefined): void {
    this.#cells.put(RECORDS.xattr, xattrKey(inode, name), value);
  }

  symlink(inode: Inode): ByteString | undefined {
    return this.#cells.get(RECORDS.symlink, symlinkKey(inode));
  }

  putSymlink(inode: Inode, target: ByteString | undefined): void {
    this.#cells.put(RECORDS.symlink, symlinkKey(inode), target);
  }

  session(id: SessionId): SessionRecord | undefined {
    return this.#cells.get(RECORDS.session, sessionKey(id));
  }

  putSession(id: SessionId, session: SessionRecord | undefined): void {
    this.#cells.put(RECORDS.session, sessionKey(id), session);
  }

  outcomes(session: SessionId, page: number): OutcomesPage | undefined {
    return this.#cells.get(RECORDS.outcomes, outcomesKey(session, page));
  }

  putOutcomes(session: SessionId, page: number, outcomes: OutcomesPage | undefined): void {
    this.#cells.put(RECORDS.outcomes, outcomesKey(session, page), outcomes);
  }

  /** The inodes that a session holds locks on, ascending. */
  lockedInodes(session: SessionId): readonly Inode[] {
    return this.#cells.get(RECORDS.lockedInodes, lockedInodesKey(session)) ?? [];
  }

  putLockedInodes(session: SessionId, inodes: readonly Inode[]): void {
    this.#cells.put(RECORDS.lockedInodes, lockedInodesKey(session), inodes.length > 0 ? inodes : undefined);
  }

  locks(inode: Inode): readonly HeldLock[] {
    return this.#cells.get(RECORDS.locks, locksKey(inode)) ?? [];
  }

  putLocks(inode: Inode, locks: readonly HeldLock[]): void {
    this.#cells.put(RECORDS.locks, locksKey(inode), locks.length > 0 ? locks : undefined);
  }

  /** The sequence that removed the inode's last link; undefined when it has links, or does not exist. */
  orphan(inode: Inode): Sequence | undefined {
    return this.#cells.get(RECORDS.orphan, orphanKey(inode));
  }

  putOrphan(inode: Inode, since: Sequence | undefined): void {
    this.#cells.put(RECORDS.orphan, orphanKey(inode), since);
  }

  epoch(code: EpochCode): EpochRecord | undefined {
    return this.#cells.get(RECORDS.epoch, epochKey(code));
  }

  putEpoch(code: EpochCode, epoch: EpochRecord): void {
    this.#cells.put(RECORDS.epoch, epochKey(code), epoch);
  }

  /** The version that a region has reported as applied. */
  regionProgress(region: RegionIndex): Version | undefined {
    return this.#cells.get(RECORDS.region, regionKey(region));
  }

  putRegionProgress(region: RegionIndex, version: Version): void {
    this.#cells.put(RECORDS.region, regionKey(region), version);
  }
}
