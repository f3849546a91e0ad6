import { RECORDS } from "../../core/codec/records.ts";
import type { ByteString } from "../../core/ids.ts";
import { HASH_KEY } from "../../core/keys.ts";
import { hashPair, type PairHash, StateHash } from "../../core/state-hash.ts";
import type { Pair } from "./load-part.ts";

/** The number of some pairs, and the sum of their hashes, from which the hash that a volume stores of itself is left out. */
export interface PairSum {
  readonly keys: number;
  readonly high: number;
  readonly low: number;
}

export const NO_PAIRS: PairSum = { keys: 0, high: 0, low: 0 };

export function addPairs(sum: PairSum, pairs: readonly Pair[]): PairSum {
  const hash = new StateHash(sum);
  const pairHash: PairHash = { high: 0, low: 0 };
  for (const [key, value] of pairs) {
    if (key === HASH_KEY) continue;
    hashPair(key as ByteString, value, pairHash);
    hash.add(pairHash);
  }
  return { keys: sum.keys + pairs.length, ...hash.value };
}

/** Whether pairs of a volume, by their sum, are all that its stored hash counts. A volume that is not formatted has none. */
export function isWholeVolume(sum: PairSum, storedHash: Uint8Array | undefined): boolean {
  const stored = new StateHash(storedHash === undefined ? undefined : RECORDS.hash.decode(storedHash));
  return `${new StateHash(sum)}` === `${stored}`;
}
