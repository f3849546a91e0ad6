/**
 * The numbers and names that must not mix. Every id is an integer below 2^53, so that it is exact in a
 * JavaScript number: 17 bits of epoch code (13 of its number, 4 of its region) above a counter of 36 bits.
 */

export type Inode = number & { readonly __brand: "Inode" };
export type SliceId = number & { readonly __brand: "SliceId" };
export type SessionId = number & { readonly __brand: "SessionId" };
/** Dense count of the changelog's commands; goes on across epochs. 0 is the empty volume. */
export type Sequence = number & { readonly __brand: "Sequence" };
/** `epoch number × 16 + region index`: orders epochs, and two promotions can never make the same one. */
export type EpochCode = number & { readonly __brand: "EpochCode" };
/** Index of a region in the volume's region table (0…15), given by `format`. */
export type RegionIndex = number & { readonly __brand: "RegionIndex" };
/**
 * A name or an xattr name or a link target, as bytes: one character U+0000…U+00FF for each byte ("latin1").
 * Never shown to a person without decoding: `Buffer.from(name, "latin1").toString("utf8")`.
 */
export type ByteString = string & { readonly __brand: "ByteString" };

/** Where a state stands: the epoch it is in and the last sequence applied. */
export interface Version {
  readonly epoch: EpochCode;
  readonly sequence: Sequence;
}

/** Wall time. 64-bit nanoseconds do not fit a JavaScript number, so they are kept in two. */
export interface Time {
  /** Seconds since 1970, signed. */
  readonly seconds: number;
  /** 0…999,999,999. */
  readonly nanoseconds: number;
}

export const ROOT_INODE = 1 as Inode;
export const NO_VERSION: Version = { epoch: 0 as EpochCode, sequence: 0 as Sequence };

export const COUNTER_LIMIT = 2 ** 36;
export const REGIONS_MAX = 16;
export const EPOCH_NUMBER_MAX = 2 ** 13 - 1;

export const CHUNK_BYTES = 64 * 1024 * 1024;
export const BLOCK_BYTES = 4 * 1024 * 1024;
/** Data of at most this many bytes travels in the command and lives in the state. */
export const INLINE_BYTES_MAX = 4096;
export const NAME_BYTES_MAX = 255;
export const SYMLINK_BYTES_MAX = 4095;
export const XATTR_VALUE_BYTES_MAX = 65536;
/** So that the list of the longest names (255 bytes and a 0 each) fits listxattr(2)'s 64 KiB. */
export const XATTRS_MAX = 256;
/** 16 TiB, as ext4's. Beyond it is EFBIG. */
export const FILE_BYTES_MAX = 2 ** 44;
/** Links of a file, as ext4's; of a directory (2 and one for each subdirectory) what st_nlink can say. */
export const FILE_LINKS_MAX = 65_000;
export const DIRECTORY_LINKS_MAX = 2 ** 31 - 1;
/** A chunk's inline data, all together; beyond it the client uploads a slice. */
export const CHUNK_INLINE_BYTES_MAX = 65536;
/** How many chunks (256 GiB of a file) one command goes over at most: see core/files.ts on truncation. */
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

/** The id with the given counter in an epoch; for inodes and for slices alike. */
export function idInEpoch(epoch: EpochCode, counter: number): number {
  return epoch * COUNTER_LIMIT + counter;
}

export function compareVersions(a: Version, b: Version): number {
  return a.epoch !== b.epoch ? a.epoch - b.epoch : a.sequence - b.sequence;
}
