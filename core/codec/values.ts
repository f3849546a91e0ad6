import type { Attributes, InodeKind, Outcome, Slice } from "../commands.ts";
import { ERRNO, type ErrnoCode } from "../errno.ts";
import {
  type EpochCode,
  type Inode,
  NO_REGIONS,
  type RegionIndex,
  type RegionSet,
  type Sequence,
  type SliceId,
  type Version,
} from "../ids.ts";
import { CodeTable, encodeWith, Reader, type Writer } from "./bytes.ts";

const FORMAT = 1;

/** Codes of an inode's kind, in attributes and in directory entries, here and on the wire (DirectoryEntry.kind). */
export const INODE_KINDS = new CodeTable<InodeKind>({
  file: 0,
  directory: 1,
  symlink: 2,
  fifo: 3,
  character: 4,
  block: 5,
  socket: 6,
});

/** A slice in the state. */
export type SliceRecord = Slice & {
  /** The number of segments that refer to it. */
  readonly references: number;
  /** `lost`: some of its blocks are in no region's bucket. */
  readonly state: SliceState;
  /** The regions, besides its home, whose buckets its writer has stored it in. */
  readonly copies: RegionSet;
};
export type SliceState = "kept" | "lost";

const SLICE_STATES = new CodeTable<SliceState>({ kept: 0, lost: 1 });

/** A contiguous range of a chunk's content. `offset`: bytes in the chunk; `sliceOffset`: where it begins in the slice. */
export type Segment =
  | { readonly kind: "inline"; readonly offset: number; readonly data: Uint8Array }
  | {
      readonly kind: "slice";
      readonly offset: number;
      readonly length: number;
      readonly slice: SliceId;
      readonly sliceOffset: number;
    };

/** The content of a chunk (64 MiB of a file). `segments` are sorted by offset and do not overlap; gaps are holes. */
export interface ChunkValue {
  /** Sequence of the last change. */
  readonly revision: number;
  readonly segments: readonly Segment[];
}

export function writeVersion(w: Writer, version: Version): void {
  w.uint(version.epoch);
  w.uint(version.sequence);
}

export function readVersion(r: Reader): Version {
  return { epoch: r.uint() as EpochCode, sequence: r.uint() as Sequence };
}

function writeAttributes(w: Writer, a: Attributes): void {
  w.u8(FORMAT);
  w.u8(INODE_KINDS.code(a.kind));
  w.u8(a.policy);
  w.uint(a.inode);
  w.uint(a.mode);
  w.uint(a.uid);
  w.uint(a.gid);
  w.uint(a.links);
  w.uint(a.size);
  w.uint(a.usedBytes);
  w.uint(a.device);
  w.time(a.atime);
  w.time(a.mtime);
  w.time(a.ctime);
  w.uint(a.entries);
  w.uint(a.xattrs);
  w.uint(a.parent);
  w.uint(a.changed);
}

function readAttributes(r: Reader): Attributes {
  r.format(FORMAT);
  return {
    kind: INODE_KINDS.name(r.u8()),
    policy: r.u8(),
    inode: r.uint() as Inode,
    mode: r.uint(),
    uid: r.uint(),
    gid: r.uint(),
    links: r.uint(),
    size: r.uint(),
    usedBytes: r.uint(),
    device: r.uint(),
    atime: r.time(),
    mtime: r.time(),
    ctime: r.time(),
    entries: r.uint(),
    xattrs: r.uint(),
    parent: r.uint() as Inode,
    changed: r.uint() as Sequence,
  };
}

export function encodeAttributes(attributes: Attributes): Uint8Array {
  return encodeWith((w) => writeAttributes(w, attributes));
}

/** @throws CodecError for bytes that encodeAttributes cannot have made; the other decoders do likewise. */
export function decodeAttributes(bytes: Uint8Array): Attributes {
  const r = new Reader(bytes, "attributes");
  const attributes = readAttributes(r);
  r.end();
  return attributes;
}

export function writeSlice(w: Writer, slice: Slice): void {
  w.u8(FORMAT);
  w.uint(slice.id);
  w.uint(slice.bytes);
  w.uint(slice.home);
  w.uint(slice.crc32c.length);
  for (const crc of slice.crc32c) w.u32(crc);
}

export function readSlice(r: Reader): Slice {
  r.format(FORMAT);
  return {
    id: r.uint() as SliceId,
    bytes: r.uint(),
    home: r.uint() as RegionIndex,
    crc32c: r.list(4, () => r.u32()),
  };
}

export function encodeSlice(record: SliceRecord): Uint8Array {
  return encodeWith((w) => {
    writeSlice(w, record);
    w.uint(record.references);
    w.u8(SLICE_STATES.code(record.state));
    w.uint(record.copies);
  });
}

export function decodeSlice(bytes: Uint8Array): SliceRecord {
  const r = new Reader(bytes, "slice");
  const slice = readSlice(r);
  const references = r.uint();
  const state = SLICE_STATES.name(r.u8());
  const copies = r.uint() as RegionSet;
  r.end();
  return { ...slice, references, state, copies };
}

/** The record of a slice that no segment refers to yet. */
export function newSlice(slice: Slice): SliceRecord {
  return { ...slice, references: 0, state: "kept", copies: NO_REGIONS };
}

const INLINE = 0;
const SLICE = 1;

export function encodeChunk(chunk: ChunkValue): Uint8Array {
  return encodeWith((w) => {
    w.u8(FORMAT);
    w.uint(chunk.revision);
    w.uint(chunk.segments.length);
    for (const segment of chunk.segments) writeSegment(w, segment);
  });
}

function writeSegment(w: Writer, segment: Segment): void {
  if (segment.kind === "inline") {
    w.u8(INLINE);
    w.uint(segment.offset);
    w.bytes(segment.data);
    return;
  }
  w.u8(SLICE);
  w.uint(segment.offset);
  w.uint(segment.length);
  w.uint(segment.slice);
  w.uint(segment.sliceOffset);
}

export function decodeChunk(bytes: Uint8Array): ChunkValue {
  const r = new Reader(bytes, "chunk");
  r.format(FORMAT);
  const chunk = { revision: r.uint(), segments: r.list(3, () => readSegment(r)) };
  r.end();
  return chunk;
}

function readSegment(r: Reader): Segment {
  const tag = r.u8();
  if (tag === INLINE) return { kind: "inline", offset: r.uint(), data: r.bytes() };
  if (tag !== SLICE) throw r.fail(`unknown kind of segment ${tag}`);
  return {
    kind: "slice",
    offset: r.uint(),
    length: r.uint(),
    slice: r.uint() as SliceId,
    sliceOffset: r.uint(),
  };
}

const ERRNO_NAMES = new Map<number, ErrnoCode>(
  Object.entries(ERRNO).map(([name, number]) => [number, name as ErrnoCode]),
);
const NO_SESSION = 0;
const HAS_ATTRIBUTES = 1;
const HAS_GRANT = 2;
const HAS_REMOVED = 4;

function writeOutcome(w: Writer, outcome: Outcome): void {
  w.u8(FORMAT);
  w.bool(outcome.ok);
  if (!outcome.ok) {
    w.uint(outcome.error === "NOSESSION" ? NO_SESSION : ERRNO[outcome.error]);
    return;
  }
  const { attributes, grant, removed } = outcome;
  w.u8((attributes ? HAS_ATTRIBUTES : 0) | (grant ? HAS_GRANT : 0) | (removed !== undefined ? HAS_REMOVED : 0));
  if (attributes) writeAttributes(w, attributes);
  if (grant) {
    w.uint(grant.first);
    w.uint(grant.count);
  }
  if (removed !== undefined) w.uint(removed);
}

export function encodeOutcome(outcome: Outcome): Uint8Array {
  return encodeWith((w) => writeOutcome(w, outcome));
}

export function decodeOutcome(bytes: Uint8Array): Outcome {
  const r = new Reader(bytes, "outcome");
  const outcome = readOutcome(r);
  r.end();
  return outcome;
}

function readOutcome(r: Reader): Outcome {
  r.format(FORMAT);
  if (!r.bool()) {
    const number = r.uint();
    const error = number === NO_SESSION ? "NOSESSION" : ERRNO_NAMES.get(number);
    if (error === undefined) throw r.fail(`unknown errno ${number}`);
    return { ok: false, error };
  }
  const flags = r.u8();
  if (flags > (HAS_ATTRIBUTES | HAS_GRANT | HAS_REMOVED)) throw r.fail(`unknown flags ${flags}`);
  return {
    ok: true,
    ...(flags & HAS_ATTRIBUTES ? { attributes: readAttributes(r) } : {}),
    ...(flags & HAS_GRANT ? { grant: { first: r.uint() as SliceId, count: r.uint() } } : {}),
    ...(flags & HAS_REMOVED ? { removed: r.uint() as Inode } : {}),
  };
}
