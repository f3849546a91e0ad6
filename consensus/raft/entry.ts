import { assert } from "./assert.ts";
import { decodeConfiguration } from "./configuration.ts";

export type EntryKind = "noop" | "configuration" | "application";

/** One entry of the replicated log. */
export interface Entry {
  readonly index: number;
  readonly term: number;
  /** Only `application` entries carry data for the state machine; the other two are Raft's own. */
  readonly kind: EntryKind;
  readonly data: Uint8Array;
  /**
   * Kind, term and data, as stored on disk and sent over the wire. Encoded once, at the leader; every member stores and
   * forwards the same bytes.
   */
  readonly encoded: Uint8Array;
}

/** kind (1), term (6, big-endian) */
const HEADER_BYTES = 7;
const KINDS: readonly EntryKind[] = ["noop", "configuration", "application"];
const TERM_HIGH = 2 ** 32;
const SLAB_BYTES = 16_384;

let slab = new Uint8Array(SLAB_BYTES);
let slabUsed = 0;

export function makeEntry(index: number, term: number, kind: EntryKind, data: Uint8Array): Entry {
  const encoded = allocate(HEADER_BYTES + data.length);
  encoded[0] = KINDS.indexOf(kind);
  writeTerm(encoded, term);
  encoded.set(data, HEADER_BYTES);
  return { index, term, kind, data: encoded.subarray(HEADER_BYTES), encoded };
}

/** Small entries share slabs: allocating and freeing a buffer for each costs more than filling it. */
function allocate(bytes: number): Uint8Array {
  if (bytes > SLAB_BYTES / 8) return new Uint8Array(bytes);
  if (slabUsed + bytes > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    slabUsed = 0;
  }
  slabUsed += bytes;
  return slab.subarray(slabUsed - bytes, slabUsed);
}

/** @throws Error for bytes that no version of this program writes */
export function decodeEntry(index: number, encoded: Uint8Array): Entry {
  const kind = KINDS[encoded[0] ?? KINDS.length];
  assert(kind !== undefined && encoded.length >= HEADER_BYTES, "an entry starts with its kind and term");
  const data = encoded.subarray(HEADER_BYTES);
  if (kind === "configuration") decodeConfiguration(index, data);
  return { index, term: readTerm(encoded), kind, data, encoded };
}

function writeTerm(into: Uint8Array, term: number): void {
  const high = Math.floor(term / TERM_HIGH);
  const low = term % TERM_HIGH;
  into[1] = high >>> 8;
  into[2] = high;
  into[3] = low >>> 24;
  into[4] = low >>> 16;
  into[5] = low >>> 8;
  into[6] = low;
}

function readTerm(from: Uint8Array): number {
  const high = from[1]! * 256 + from[2]!;
  return high * TERM_HIGH + from[3]! * 2 ** 24 + ((from[4]! << 16) | (from[5]! << 8) | from[6]!);
}
