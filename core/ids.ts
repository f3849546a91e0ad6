/**
 * Ids, names, versions and limits. Ids are branded, so that the compiler keeps them apart, and are integers below 2^53, which
 * a JavaScript number holds exactly. An inode or slice id says who allocated it, from the high bits to the low ones: the
 * shard (6 bits), the code of the epoch (17 bits: 13 for the number, 4 for the region) and a counter of 30 bits. It does not
 * say where the inode or slice is now. JavaScript's bit operators work on 32 bits: take an id apart by division only.
 */

export type Inode = number & { readonly __brand: "Inode" };
export type SliceId = number & { readonly __brand: "SliceId" };
export type SessionId = number & { readonly __brand: "SessionId" };
/** Position in the changelog: the number of commands up to there, across epochs and without gaps. 0: before `format`. */
export type Sequence = number & { readonly __brand: "Sequence" };
/** `epoch number × 16 + region index`. Ordered as the epochs are; promotions in two regions never yield the same code. */
export type EpochCode = number & { readonly __brand: "EpochCode" };
/** Index of a region in the volume's table of regions (0…15). It never means another region, also once its own is removed. */
export type RegionIndex = number & { readonly __brand: "RegionIndex" };
/** A set of regions: the sum of 2^index of each. */
export type RegionSet = number & { readonly __brand: "RegionSet" };
/**
 * A file name, xattr name or link target, as bytes: one character U+0000…U+00FF per byte (latin1). To display one, decode
 * it: `Buffer.from(name, "latin1").toString("utf8")`.
 */
export type ByteString = string & { readonly __brand: "ByteString" };

/** The version of a state: its epoch and the last sequence applied. */
export interface Version {
  readonly epoch: EpochCode;
  readonly sequence: Sequence;
}

/** Wall-clock time, as struct timespec: 64-bit nanoseconds would not fit a JavaScript number. */
export interface Time {
  /** Seconds since 1970-01-01 UTC; may be negative. */
  readonly seconds: number;
  /** 0…999,999,999. */
  readonly nanoseconds: number;
}

export const ROOT_INODE = 1 as Inode;
/** `format` gives the inodes below this one: the root, and those of core/reserved.ts. */
export const FIRST_INODE = 16 as Inode;
export const NO_REGIONS = 0 as RegionSet;
export const NO_VERSION: Version = { epoch: 0 as EpochCode, sequence: 0 as Sequence };

/** Inode counters, and slice counters, are below this in each epoch. */
export const COUNTER_LIMIT = 2 ** 30;
export const REGIONS_MAX = 16;
export const EPOCH_NUMBER_MAX = 2 ** 13 - 1;
const SHARD_IDS = (EPOCH_NUMBER_MAX + 1) * REGIONS_MAX * COUNTER_LIMIT;

export const CHUNK_BYTES = 64 * 1024 * 1024;
export const BLOCK_BYTES = 4 * 1024 * 1024;
/** An extent of at most this many bytes may travel in the command and is stored in the state instead of a bucket. */
export const INLINE_BYTES_MAX = 4096;
export const NAME_BYTES_MAX = 255;
export const SYMLINK_BYTES_MAX = 4095;
export const XATTR_VALUE_BYTES_MAX = 65536;
/** Xattrs of an inode. With the longest names (255 bytes and a NUL each) the list fits the 64 KiB of listxattr(2). */
export const XATTRS_MAX = 256;
/** 16 TiB, as in ext4 with 4 KiB blocks. EFBIG beyond it. */
export const FILE_BYTES_MAX = 2 ** 44;
/** Links of a file, as in ext4. EMLINK beyond it. */
export const FILE_LINKS_MAX = 65_000;
/** Links of a directory (2, and one for each subdirectory): what any st_nlink can hold. EMLINK beyond it. */
export const DIRECTORY_LINKS_MAX = 2 ** 31 - 1;
/** Inline data of a chunk in all. EOVERFLOW beyond it: the client uploads a slice instead. */
export const CHUNK_INLINE_BYTES_MAX = 65536;
/** Chunks (256 GiB of a file) that one command may visit: see `truncate` in core/files.ts. */
export const RANGE_CHUNKS_MAX = 4096;

export function epochCode(number: number, region: RegionIndex): EpochCode {
  return (number * REGIONS_MAX + region) as EpochCode;
}

export function epochNumber(epoch: EpochCode): number {
  return Math.floor(epoch / REGIONS_MAX);
}

export function epochRegion(epoch: EpochCode): RegionIndex {
  return (epoch % REGIONS_MAX) as RegionIndex;
}

/** The inode or slice id with the given counter in an epoch. In shard 0: so far one group holds the whole tree. */
export function idInEpoch(epoch: EpochCode, counter: number): number {
  return epoch * COUNTER_LIMIT + counter;
}

/** Who allocated an inode or slice id. The reserved inodes belong to no epoch: theirs is 0. */
export function idOrigin(id: number): { readonly shard: number; readonly epoch: EpochCode; readonly counter: number } {
  const inShard = id % SHARD_IDS;
  return {
    shard: Math.floor(id / SHARD_IDS),
    epoch: Math.floor(inShard / COUNTER_LIMIT) as EpochCode,
    counter: inShard % COUNTER_LIMIT,
  };
}

/** @returns negative when `a` is older, 0 when they are equal, positive when it is newer. */
export function compareVersions(a: Version, b: Version): number {
  return a.epoch !== b.epoch ? a.epoch - b.epoch : a.sequence - b.sequence;
}
