import type { Version } from "../../core/ids.ts";

/**
 * Keys and records of a region's own state, besides the volume. Each key begins with a generation in two bytes: generation 0
 * holds the region's own keys, every other one a volume's keys (core/keys.ts).
 */
export const PREFIX_BYTES = 2;

export function generationPrefix(generation: number): string {
  return String.fromCharCode(generation >> 8, generation & 255);
}

const LOCAL = generationPrefix(0);

export const APPLIED_KEY = `${LOCAL}a`;
export const GENERATION_KEY = `${LOCAL}g`;
export const LAST_GENERATION_KEY = `${LOCAL}n`;
export const FENCE_KEY = `${LOCAL}f`;
export const EXCUSED_KEY = `${LOCAL}j`;
export const CLEARED_KEY = `${LOCAL}m`;
export const HEARD_KEY = `${LOCAL}h`;
export const DIVERGED_KEY = `${LOCAL}x`;
export const LOSS_KEY = `${LOCAL}l`;
export const SORTING_KEY = `${LOCAL}t`;
export const CHECKPOINT_PREFIX = `${LOCAL}c`;
export const REFUSED_ENTRY_PREFIX = `${LOCAL}u`;
const REFUSED_SEAL_PREFIX = `${LOCAL}s`;

/** An integer below 2^53 in 7 bytes, big-endian, so that keys sort as the numbers do. */
function numberKey(value: number): string {
  const high = Math.floor(value / 2 ** 28);
  const low = value % 2 ** 28;
  return String.fromCharCode(
    (high >>> 20) & 255,
    (high >>> 12) & 255,
    (high >>> 4) & 255,
    ((high & 15) << 4) | (low >>> 24),
    (low >>> 16) & 255,
    (low >>> 8) & 255,
    low & 255,
  );
}

/** Pending slices belong to a generation: a bootstrap collects its own. */
export function pendingPrefix(generation: number): string {
  return `${LOCAL}p${generationPrefix(generation)}`;
}

export function pendingKey(generation: number, slice: number): string {
  return pendingPrefix(generation) + numberKey(slice);
}

export function pendingTotalsKey(generation: number): string {
  return `${LOCAL}q${generationPrefix(generation)}`;
}

/** The sum of the pairs that a bootstrap has loaded of a generation. */
export function loadedSumKey(generation: number): string {
  return `${LOCAL}b${generationPrefix(generation)}`;
}

/** Garbage belongs to a generation: the history of another one may name the slice, or come to name it. */
export function garbagePrefix(generation: number): string {
  return `${LOCAL}d${generationPrefix(generation)}`;
}

export function garbageKey(generation: number, slice: number): string {
  return garbagePrefix(generation) + numberKey(slice);
}

/** Revoked ids belong to a generation: the history of another one may still use them. */
export function revokedPrefix(generation: number): string {
  return `${LOCAL}r${generationPrefix(generation)}`;
}

export function revokedKey(generation: number, first: number): string {
  return revokedPrefix(generation) + numberKey(first);
}

export function checkpointKey(sequence: number): string {
  return CHECKPOINT_PREFIX + numberKey(sequence);
}

export function refusedEntryKey(index: number): string {
  return REFUSED_ENTRY_PREFIX + numberKey(index);
}

export function refusedSealKey(seal: Version): string {
  return REFUSED_SEAL_PREFIX + numberKey(seal.epoch) + numberKey(seal.sequence);
}

/** A slice that the region's bucket lacks. */
export interface Pending {
  readonly slice: number;
  readonly sinceMs: number;
  /** The file that it was written to; 0 if that is not known. */
  readonly inode: number;
  readonly blocks: number;
  readonly bytes: number;
  /** The slice in core's encoding. */
  readonly record: Uint8Array;
}

/** A slice without a reference, whose blocks are to be deleted. */
export interface Garbage {
  readonly slice: number;
  /** The sequence that dropped its last reference, and its time. */
  readonly sequence: number;
  readonly sinceMs: number;
  readonly record: Uint8Array;
}

/** A replaced generation whose slices and garbage are still to be compared with the live one. Stored as a list, in JSON. */
export interface Sorting {
  readonly generation: number;
  /** Of the version that took its place: a slice that only the replaced state names is garbage from here on. */
  readonly sequence: number;
  /** The last of its keys that has been compared. */
  readonly after: string;
}

/** Slice ids `first` … `first + count - 1`, which were granted and are revoked unused. Stored as JSON. */
export interface RevokedIds {
  readonly first: number;
  readonly count: number;
  readonly sinceMs: number;
}

const PENDING_HEADER_BYTES = 32;
const GARBAGE_HEADER_BYTES = 24;

export function encodePending(pending: Pending): Buffer {
  const bytes = Buffer.allocUnsafe(PENDING_HEADER_BYTES + pending.record.length);
  bytes.writeDoubleBE(pending.slice, 0);
  bytes.writeDoubleBE(pending.sinceMs, 8);
  bytes.writeDoubleBE(pending.inode, 16);
  bytes.writeUInt32BE(pending.blocks, 24);
  bytes.writeUInt32BE(pending.bytes, 28);
  bytes.set(pending.record, PENDING_HEADER_BYTES);
  return bytes;
}

export function decodePending(value: Uint8Array): Pending {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return {
    slice: bytes.readDoubleBE(0),
    sinceMs: bytes.readDoubleBE(8),
    inode: bytes.readDoubleBE(16),
    blocks: bytes.readUInt32BE(24),
    bytes: bytes.readUInt32BE(28),
    record: bytes.subarray(PENDING_HEADER_BYTES),
  };
}

export function encodeGarbage(garbage: Garbage): Buffer {
  const bytes = Buffer.allocUnsafe(GARBAGE_HEADER_BYTES + garbage.record.length);
  bytes.writeDoubleBE(garbage.slice, 0);
  bytes.writeDoubleBE(garbage.sequence, 8);
  bytes.writeDoubleBE(garbage.sinceMs, 16);
  bytes.set(garbage.record, GARBAGE_HEADER_BYTES);
  return bytes;
}

export function decodeGarbage(value: Uint8Array): Garbage {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return {
    slice: bytes.readDoubleBE(0),
    sequence: bytes.readDoubleBE(8),
    sinceMs: bytes.readDoubleBE(16),
    record: bytes.subarray(GARBAGE_HEADER_BYTES),
  };
}

export function encodeRecord(record: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(record));
}

export function decodeRecord<T>(bytes: Uint8Array): T {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as T;
}
