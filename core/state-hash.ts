/**
 * The state hash: the sum of a 64-bit hash of each pair of key and value, in two lanes of 32 bits. With a sum, a change costs
 * only what it touches (subtract the old pair, add the new one), and the order of changes does not matter. A pair is hashed
 * with MurmurHash3's mixing (Appleby, public domain) in two lanes that feed each other. The hash detects states that have
 * diverged by accident; it does not resist deliberate collisions.
 */

import type { ByteString } from "./ids.ts";

/** The hash of a pair. */
export interface PairHash {
  /** Signed 32-bit integers, which V8 stores in the field itself. */
  high: number;
  low: number;
}

const C1 = 0xcc9e2d51 | 0;
const C2 = 0x1b873593 | 0;
const C3 = 0x239b961b | 0;
const C4 = 0x38b34ae5 | 0;

let high = 0;
let low = 0;

function mix(word: number): void {
  let k = Math.imul(word, C1);
  k = (k << 15) | (k >>> 17);
  high ^= Math.imul(k, C2);
  high = (high << 13) | (high >>> 19);
  high = (Math.imul(high + low, 5) + 0xe6546b64) | 0;
  k = Math.imul(word, C3);
  k = (k << 16) | (k >>> 16);
  low ^= Math.imul(k, C4);
  low = (low << 17) | (low >>> 15);
  low = (Math.imul(low + high, 5) + 0x0bcaa747) | 0;
}

function finish(hash: number): number {
  let h = hash;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Writes the hash of a pair to `into`. */
export function hashPair(key: ByteString, value: Uint8Array, into: PairHash): void {
  high = 0x2127599b;
  low = 0x5bd1e995;
  const keyLength = key.length;
  let at = 0;
  for (; at + 4 <= keyLength; at += 4) {
    mix(
      key.charCodeAt(at) |
        (key.charCodeAt(at + 1) << 8) |
        (key.charCodeAt(at + 2) << 16) |
        (key.charCodeAt(at + 3) << 24),
    );
  }
  for (; at < keyLength; at++) mix(key.charCodeAt(at));
  const length = value.length;
  at = 0;
  for (; at + 4 <= length; at += 4) {
    mix(value[at]! | (value[at + 1]! << 8) | (value[at + 2]! << 16) | (value[at + 3]! << 24));
  }
  for (; at < length; at++) mix(value[at]!);
  mix(keyLength);
  mix(length);
  into.high = finish(high ^ finish(low));
  into.low = finish(low + into.high);
}

/** The running sum. */
export class StateHash {
  #high: number;
  #low: number;

  constructor(start: PairHash | undefined) {
    this.#high = start?.high ?? 0;
    this.#low = start?.low ?? 0;
  }

  add(pair: PairHash): void {
    this.#high = (this.#high + pair.high) >>> 0;
    this.#low = (this.#low + pair.low) >>> 0;
  }

  subtract(pair: PairHash): void {
    this.#high = (this.#high - pair.high) >>> 0;
    this.#low = (this.#low - pair.low) >>> 0;
  }

  get value(): PairHash {
    return { high: this.#high, low: this.#low };
  }

  /** 16 hex digits. */
  toString(): string {
    return this.#high.toString(16).padStart(8, "0") + this.#low.toString(16).padStart(8, "0");
  }
}
