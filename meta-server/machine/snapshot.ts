import type { MachineSnapshot } from "../../consensus/group.ts";
import { HASH_KEY } from "../../core/keys.ts";
import type { StateSnapshot } from "../storage/state-snapshot.ts";
import { decodePairs, encodePairs, type Pair } from "./load-part.ts";
import {
  APPLIED_KEY,
  decodeRecord,
  encodeRecord,
  GENERATION_KEY,
  generationPrefix,
  PREFIX_BYTES,
} from "./local-keys.ts";
import { addPairs, isWholeVolume, NO_PAIRS, type PairSum } from "./pair-sum.ts";
import type { TurnStore } from "./turn-store.ts";

const PART_BYTES = 1024 * 1024;
const HEADER_BYTES = 100;
/** The key, which no pair of the store has, under which a snapshot's last part states the sum of all its pairs. */
const SUM_KEY = "";

/** The whole store, in parts of about 1 MiB, then the sum of its pairs. */
export async function snapshotParts(snapshot: StateSnapshot): Promise<MachineSnapshot> {
  const index = await appliedIndexOf(snapshot);
  return { index, parts: parts(snapshot), release: () => snapshot.release() };
}

async function appliedIndexOf(snapshot: StateSnapshot): Promise<number> {
  for await (const page of snapshot.pages(APPLIED_KEY)) {
    const [key, value] = page[0]!;
    return key === APPLIED_KEY ? decodeRecord<{ index: number }>(value).index : 0;
  }
  return 0;
}

async function* parts(snapshot: StateSnapshot): AsyncGenerator<Uint8Array> {
  let sum = NO_PAIRS;
  for await (const pairs of gather(snapshot.pages(), PART_BYTES)) {
    sum = addPairs(sum, pairs);
    yield encodePairs(pairs);
  }
  yield encodePairs([[SUM_KEY, encodeRecord(sum)]]);
}

/** Regroups pages of pairs into groups of about `bytesMax` bytes. */
export async function* gather(pages: AsyncIterable<readonly Pair[]>, bytesMax: number): AsyncGenerator<Pair[]> {
  let pairs: Pair[] = [];
  let bytes = 0;
  for await (const page of pages) {
    for (const pair of page) {
      pairs.push(pair);
      bytes += pair[0].length + pair[1].length + HEADER_BYTES;
      if (bytes < bytesMax) continue;
      yield pairs;
      pairs = [];
      bytes = 0;
    }
  }
  if (pairs.length > 0) yield pairs;
}

/**
 * Replaces the whole store by the parts of a snapshot.
 * @throws RangeError, with the store unchanged, for parts that are not the whole store of a member
 */
export async function restoreStore(store: TurnStore, parts: AsyncIterable<Uint8Array>): Promise<void> {
  await store.replace(async (write) => {
    const check = new SnapshotCheck();
    for await (const part of parts) {
      await write(check.take(decodePairs(Buffer.from(part.buffer, part.byteOffset, part.byteLength))));
    }
    check.finish();
  });
}

/** Compares the pairs of a snapshot with the sum that its sender stated, and those of the live volume with its state hash. */
class SnapshotCheck {
  #sum = NO_PAIRS;
  #stated: PairSum | undefined;
  #live = 1;
  /** By the prefix of a generation, of its pairs under their plain keys. */
  readonly #sums = new Map<string, PairSum>();
  readonly #hashes = new Map<string, Uint8Array>();

  /** @returns the pairs to be stored */
  take(pairs: readonly Pair[]): readonly Pair[] {
    const stored: Pair[] = [];
    const plain = new Map<string, Pair[]>();
    for (const pair of pairs) {
      const [key, value] = pair;
      if (key === SUM_KEY) this.#stated = decodeRecord<PairSum>(value);
      else stored.push(pair);
      if (key === GENERATION_KEY) this.#live = decodeRecord<number>(value);
      const prefix = key.slice(0, PREFIX_BYTES);
      const own = key.slice(PREFIX_BYTES);
      if (own === HASH_KEY) this.#hashes.set(prefix, value);
      const list = plain.get(prefix);
      if (list === undefined) plain.set(prefix, [[own, value]]);
      else list.push([own, value]);
    }
    this.#sum = addPairs(this.#sum, stored);
    for (const [prefix, list] of plain) this.#sums.set(prefix, addPairs(this.#sums.get(prefix) ?? NO_PAIRS, list));
    return stored;
  }

  finish(): void {
    const { keys, high, low } = this.#sum;
    const stated = this.#stated;
    if (stated?.keys !== keys || stated.high !== high || stated.low !== low)
      throw new RangeError(
        `the snapshot has ${keys} keys, which are not the ${stated?.keys ?? "?"} that its sender stated`,
      );
    const live = generationPrefix(this.#live);
    if (!isWholeVolume(this.#sums.get(live) ?? NO_PAIRS, this.#hashes.get(live)))
      throw new RangeError("the keys of the snapshot do not add up to the state hash that they hold");
  }
}
