import type { EpochCode, Version } from "../../core/ids.ts";
import { decodeLoad, encodeLoad } from "./load-part.ts";

/** First byte of an entry that is the region's own: in no changelog, in no state hash, without a sequence. */
const LOCAL_ENTRY = 3;

/** What a region's group agrees on beside the volume. */
export type LocalEntry =
  /** The region's bucket holds these slices, verified. */
  | { readonly kind: "resident"; readonly slices: readonly number[] }
  /** A block thought resident is not there: the slices are pending again. */
  | { readonly kind: "missing"; readonly slices: readonly number[]; readonly nowMs: number }
  /** These slices were deleted from the region's bucket. */
  | { readonly kind: "collected"; readonly slices: readonly number[] }
  /** What was stored under the revoked ids that begin at these is deleted from the region's bucket. */
  | { readonly kind: "swept"; readonly firsts: readonly number[] }
  /** A higher epoch was heard of: nothing is acknowledged here before that epoch has come. */
  | { readonly kind: "fence"; readonly epoch: EpochCode }
  /** The seal at this version is declined: the region will not begin an epoch from it. */
  | { readonly kind: "refuseSeal"; readonly seal: Version }
  /** The highest version of the primary that this region has heard of. */
  | { readonly kind: "heard"; readonly version: Version }
  /** The state hashes differ at this sequence: nothing more is followed. */
  | { readonly kind: "diverged"; readonly sequence: number; readonly own: string; readonly primary: string }
  | { readonly kind: "lossReport"; readonly report: string }
  /** Bootstrap: keys of a generation that is not alive yet, and the command that brings it to life. */
  | {
      readonly kind: "load";
      readonly generation: number;
      readonly nowMs: number;
      readonly pairs: readonly (readonly [string, Uint8Array])[];
    }
  | {
      readonly kind: "flip";
      readonly generation: number;
      /** The epoch that this region was in when the snapshot was taken: a later one, begun here meanwhile, is not undone. */
      readonly replaces: number;
      readonly version: Version;
      readonly stateHash: string;
    };

const LOAD = 1;
const PLAIN = 0;

export function encodeLocal(entry: LocalEntry): Uint8Array {
  if (entry.kind === "load") return Buffer.concat([Buffer.from([LOCAL_ENTRY, LOAD]), encodeLoad(entry)]);
  return Buffer.concat([Buffer.from([LOCAL_ENTRY, PLAIN]), Buffer.from(JSON.stringify(entry))]);
}

export function isLocal(data: Uint8Array): boolean {
  return data[0] === LOCAL_ENTRY;
}

export function decodeLocal(data: Uint8Array): LocalEntry {
  const body = Buffer.from(data.buffer, data.byteOffset + 2, data.byteLength - 2);
  if (data[1] === LOAD) return { kind: "load", ...decodeLoad(body) };
  return JSON.parse(body.toString()) as LocalEntry;
}
