/** The records of the state and their encodings: one for each prefix in keys.ts. */

import type { CommandOf, InodeKind } from "../commands.ts";
import type { ByteString, Inode, RegionIndex, Sequence, SessionId, Version } from "../ids.ts";
import { CodeTable, encodeWith, Reader, type Writer } from "./bytes.ts";
import {
  type ChunkValue,
  decodeAttributes,
  decodeChunk,
  decodeSlice,
  encodeAttributes,
  encodeChunk,
  encodeSlice,
  INODE_KINDS,
  readVersion,
  writeVersion,
} from "./values.ts";

const FORMAT = 1;

/**
 * - `joining`: takes a snapshot, and pins the changelog; `active`: follows, or is the primary
 * - `leaving`: its blocks are being copied elsewhere; `removed`: its index stays taken
 * - `detached`: was silent for so long that neither garbage nor the log waits for it
 */
export type RegionState = "joining" | "active" | "leaving" | "removed" | "detached";

export interface VolumeRegion {
  readonly name: string;
  readonly state: RegionState;
  /** The sequence of the command that put it into this state. */
  readonly since: Sequence;
}

/** The volume's own record. `usedBytes` and `inodes` are sums over all inodes. */
export interface Volume {
  readonly uuid: string;
  readonly volume: string;
  /** The feature level: decides which rules and encodings apply (core/features.ts). */
  readonly features: number;
  /** By region index. */
  readonly regions: readonly VolumeRegion[];
  readonly version: Version;
  readonly sealedTo: RegionIndex | undefined;
  /** Counters of the next inode and slice ids in the current epoch (idInEpoch). */
  readonly nextInode: number;
  readonly nextSlice: number;
  readonly usedBytes: number;
  readonly inodes: number;
  /** How long what was removed stays in the trash; 0: it is removed for good. */
  readonly trashHours: number;
  /** Bytes of the inodes in the trash; they count in `usedBytes` too. */
  readonly trashBytes: number;
  /** Bytes of the slices that are lost. */
  readonly lostBytes: number;
}

export interface DirectoryEntry {
  readonly inode: Inode;
  readonly kind: InodeKind;
}

/** Ids `first` … `first + count - 1`. */
export interface IdRange {
  readonly first: number;
  readonly count: number;
}

export interface SessionRecord {
  readonly client: string;
  readonly region: RegionIndex;
  /** Outcomes of requests below it have been dropped. */
  readonly lowWater: number;
  /** The highest request number with an outcome. */
  readonly highest: number;
  /** Slice ids that were granted and are not used yet; the oldest grant comes first. */
  readonly granted: readonly IdRange[];
}

/** The encoded outcomes of a run of requests: that of request r is at index `r % OUTCOMES_PAGE`. */
export type OutcomesPage = readonly (Uint8Array | undefined)[];

export interface HeldLock {
  readonly table: "posix" | "flock";
  readonly session: SessionId;
  readonly owner: string;
  readonly mode: "read" | "write";
  readonly start: number;
  /** Inclusive. */
  readonly end: number;
  readonly pid: number;
}

export interface EpochRecord {
  /** The sequence of `beginEpoch` itself. */
  readonly first: Sequence;
  /** The version before it. */
  readonly previous: Version;
  /** Why it began. The first epoch begins with the volume. */
  readonly how: "format" | CommandOf<"beginEpoch">["how"];
}

/** The encoding of a type of record in the state. */
export interface RecordCodec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

function record<T>(what: string, write: (w: Writer, value: T) => void, read: (r: Reader) => T): RecordCodec<T> {
  return {
    encode: (value) =>
      encodeWith((w) => {
        w.u8(FORMAT);
        write(w, value);
      }),
    decode(bytes) {
      const r = new Reader(bytes, what);
      r.format(FORMAT);
      const value = read(r);
      r.end();
      return value;
    },
  };
}

const LOCK_TABLES = new CodeTable<HeldLock["table"]>({ posix: 0, flock: 1 });
const LOCK_MODES = new CodeTable<HeldLock["mode"]>({ read: 0, write: 1 });
const REGION_STATES = new CodeTable<RegionState>({ joining: 0, active: 1, leaving: 2, removed: 3, detached: 4 });
const BEGINNINGS = new CodeTable<EpochRecord["how"]>({ format: 0, sealed: 1, resumed: 2, counters: 3, forced: 4 });
const NOT_SEALED = 255;

export const RECORDS = {
  volume: record<Volume>(
    "volume",
    (w, v) => {
      w.uint(v.features);
      w.text(v.uuid);
      w.text(v.volume);
      w.uint(v.regions.length);
      for (const region of v.regions) writeRegion(w, region);
      writeVersion(w, v.version);
      w.u8(v.sealedTo ?? NOT_SEALED);
      w.uint(v.nextInode);
      w.uint(v.nextSlice);
      w.uint(v.usedBytes);
      w.uint(v.inodes);
      w.uint(v.trashHours);
      w.uint(v.trashBytes);
      w.uint(v.lostBytes);
    },
    (r) => ({
      features: r.uint(),
      uuid: r.text(),
      volume: r.text(),
      regions: r.list(3, () => readRegion(r)),
      version: readVersion(r),
      sealedTo: readSealed(r),
      nextInode: r.uint(),
      nextSlice: r.uint(),
      usedBytes: r.uint(),
      inodes: r.uint(),
      trashHours: r.uint(),
      trashBytes: r.uint(),
      lostBytes: r.uint(),
    }),
  ),
  hash: record<{ readonly high: number; readonly low: number }>(
    "state hash",
    (w, v) => {
      w.u32(v.high);
      w.u32(v.low);
    },
    (r) => ({ high: r.u32(), low: r.u32() }),
  ),
  attributes: { encode: encodeAttributes, decode: decodeAttributes },
  entry: record<DirectoryEntry>(
    "directory entry",
    (w, v) => {
      w.u8(INODE_KINDS.code(v.kind));
      w.uint(v.inode);
    },
    (r) => ({ kind: INODE_KINDS.name(r.u8()), inode: r.uint() as Inode }),
  ),
  extraLink: record<true>(
    "extra link",
    () => {},
    () => true,
  ),
  chunk: { encode: encodeChunk, decode: decodeChunk } satisfies RecordCodec<ChunkValue>,
  slice: { encode: encodeSlice, decode: decodeSlice },
  xattr: record<Uint8Array>(
    "xattr",
    (w, v) => w.raw(v),
    (r) => r.rest(),
  ),
  symlink: record<ByteString>(
    "symlink",
    (w, v) => w.byteString(v),
    (r) => r.byteString(),
  ),
  session: record<SessionRecord>(
    "session",
    (w, v) => {
      w.text(v.client);
      w.uint(v.region);
      w.uint(v.lowWater);
      w.uint(v.highest);
      w.uint(v.granted.length);
      for (const range of v.granted) {
        w.uint(range.first);
        w.uint(range.count);
      }
    },
    (r) => ({
      client: r.text(),
      region: r.uint() as RegionIndex,
      lowWater: r.uint(),
      highest: r.uint(),
      granted: r.list(2, () => ({ first: r.uint(), count: r.uint() })),
    }),
  ),
  outcomes: record<OutcomesPage>(
    "outcomes",
    (w, v) => {
      w.uint(v.length);
      for (const outcome of v) w.bytes(outcome ?? NO_BYTES);
    },
    (r) => r.list(1, () => r.bytes()).map((outcome) => (outcome.length === 0 ? undefined : outcome)),
  ),
  lockedInodes: record<readonly Inode[]>(
    "locked inodes",
    (w, v) => {
      w.uint(v.length);
      for (const inode of v) w.uint(inode);
    },
    (r) => r.list(1, () => r.uint() as Inode),
  ),
  locks: record<readonly HeldLock[]>(
    "locks",
    (w, v) => {
      w.uint(v.length);
      for (const lock of v) writeLock(w, lock);
    },
    (r) => r.list(7, () => readLock(r)),
  ),
  orphan: record<Sequence>(
    "orphan",
    (w, v) => w.uint(v),
    (r) => r.uint() as Sequence,
  ),
  epoch: record<EpochRecord>(
    "epoch",
    (w, v) => {
      w.uint(v.first);
      writeVersion(w, v.previous);
      w.u8(BEGINNINGS.code(v.how));
    },
    (r) => ({ first: r.uint() as Sequence, previous: readVersion(r), how: BEGINNINGS.name(r.u8()) }),
  ),
  region: record<Version>("region", writeVersion, readVersion),
};

const NO_BYTES = new Uint8Array(0);

/** The feature level in an encoded volume. It comes first, so that every version of the program can read it. */
export function featuresIn(volume: Uint8Array): number {
  const r = new Reader(volume, "volume");
  r.format(FORMAT);
  return r.uint();
}

function writeRegion(w: Writer, region: VolumeRegion): void {
  w.text(region.name);
  w.u8(REGION_STATES.code(region.state));
  w.uint(region.since);
}

function readRegion(r: Reader): VolumeRegion {
  return { name: r.text(), state: REGION_STATES.name(r.u8()), since: r.uint() as Sequence };
}

function readSealed(r: Reader): RegionIndex | undefined {
  const region = r.u8();
  return region === NOT_SEALED ? undefined : (region as RegionIndex);
}

function writeLock(w: Writer, lock: HeldLock): void {
  w.u8(LOCK_TABLES.code(lock.table));
  w.uint(lock.session);
  w.text(lock.owner);
  w.u8(LOCK_MODES.code(lock.mode));
  w.uint(lock.start);
  w.uint(lock.end);
  w.uint(lock.pid);
}

function readLock(r: Reader): HeldLock {
  return {
    table: LOCK_TABLES.name(r.u8()),
    session: r.uint() as SessionId,
    owner: r.text(),
    mode: LOCK_MODES.name(r.u8()),
    start: r.uint(),
    end: r.uint(),
    pid: r.uint(),
  };
}
