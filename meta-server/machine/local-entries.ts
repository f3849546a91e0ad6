import type { EpochCode, Version } from "../../core/ids.ts";
import { decodeLoad, encodeLoad } from "./load-part.ts";
import type { Garbage } from "./local-keys.ts";

/** First byte of the region's own entries. They take no sequence and are part of neither the changelog nor the state hash. */
const LOCAL_ENTRY = 3;

/** What a region's group agrees on besides the volume. */
export type LocalEntry =
  /** The region's bucket holds verified copies of these slices. */
  | { readonly kind: "resident"; readonly slices: readonly number[] }
  /** Blocks of these slices were counted as resident and are missing: the slices are pending again. */
  | { readonly kind: "missing"; readonly slices: readonly number[]; readonly nowMs: number }
  /** These slices were deleted from the region's bucket. */
  | { readonly kind: "collected"; readonly slices: readonly number[] }
  /** The blocks under the revoked ranges of ids that begin at these were deleted from the region's bucket. */
  | { readonly kind: "swept"; readonly firsts: readonly number[] }
  /** A later epoch is known: this region acknowledges nothing until it has applied that epoch. */
  | { readonly kind: "fence"; readonly epoch: EpochCode }
  /** This epoch is current as far as every other region knows: the servers of these lives may act in it. */
  | { readonly kind: "cleared"; readonly epoch: EpochCode; readonly lives: readonly number[] }
  /** An operator has declared another region gone, so that it is not waited for; or it has answered since. */
  | { readonly kind: "excused"; readonly region: string; readonly isGone: boolean }
  /** The seal at this version is declined: the region will never begin an epoch from it. */
  | { readonly kind: "refuseSeal"; readonly seal: Version }
  /** The highest version that the primary is known to have committed. */
  | { readonly kind: "heard"; readonly version: Version }
  /** The state hashes differ at this sequence: the region has stopped following. */
  | { readonly kind: "diverged"; readonly sequence: number; readonly own: string; readonly primary: string }
  /** What the epoch, which was begun by force, may have lost. An epoch's first report is the one that is kept. */
  | { readonly kind: "lossReport"; readonly epoch: EpochCode; readonly report: string }
  /** A bootstrap: `load` brings keys of a generation that is not live yet, `flip` makes it the live one. */
  | {
      readonly kind: "load";
      readonly generation: number;
      readonly nowMs: number;
      readonly pairs: readonly (readonly [string, Uint8Array])[];
    }
  | {
      readonly kind: "flip";
      readonly generation: number;
      /** The epoch of this region when the snapshot was requested: if another has begun here since, the flip does nothing. */
      readonly replaces: number;
      readonly version: Version;
      readonly stateHash: string;
      /** How many keys the snapshot has. */
      readonly keys: number;
    }
  /** After a flip: what of the replaced generation `generation` is garbage, of its keys up to `after`. */
  | {
      readonly kind: "sorted";
      readonly generation: number;
      readonly after: string;
      /** Whether those are all of its keys. */
      readonly last: boolean;
      /** The record is in base64. */
      readonly garbage: readonly (Omit<Garbage, "record"> & { readonly record: string })[];
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
