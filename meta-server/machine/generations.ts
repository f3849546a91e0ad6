import { RECORDS } from "../../core/codec/records.ts";
import { decodeSlice } from "../../core/codec.ts";
import type { RegionIndex, SliceId } from "../../core/ids.ts";
import { HASH_KEY, KEY_PREFIX, sliceKey, VOLUME_KEY } from "../../core/keys.ts";
import { regionIndex } from "../../core/regions.ts";
import { StateHash } from "../../core/state-hash.ts";
import type { StateSnapshot } from "../storage/state-snapshot.ts";
import type { Pair } from "./load-part.ts";
import type { LocalEntry } from "./local-entries.ts";
import {
  decodeGarbage,
  decodeRecord,
  encodeRecord,
  type Garbage,
  GENERATION_KEY,
  garbagePrefix,
  generationPrefix,
  loadedSumKey,
  PREFIX_BYTES,
  pendingPrefix,
  revokedPrefix,
  type Sorting,
} from "./local-keys.ts";
import { addPairs, isWholeVolume, NO_PAIRS, type PairSum } from "./pair-sum.ts";
import { factOf, type RegionFacts } from "./region-facts.ts";
import { afterPrefix, type TurnStore } from "./turn-store.ts";
import type { VolumeView } from "./volume-view.ts";

type SortedEntry = Extract<LocalEntry, { kind: "sorted" }>;

/** A `sorted` entry ends with the page that brings it to this many slices, or after this many pages. */
const SORTED_MIN = 256;
const SORTED_PAGES_MAX = 100;

/** All keys of a generation. */
const OWN_PREFIXES: readonly ((generation: number) => string)[] = [
  generationPrefix,
  pendingPrefix,
  garbagePrefix,
  revokedPrefix,
  loadedSumKey,
];

/** The volume's keys by generation: the live one, one that a bootstrap fills beside it, and dead ones that are swept. */
export class Generations {
  readonly #store: TurnStore;
  #working: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(store: TurnStore) {
    this.#store = store;
  }

  /** Loads a part of a generation that is not live yet. Slices that the region's bucket lacks become pending in it. */
  load(entry: Extract<LocalEntry, { kind: "load" }>, facts: RegionFacts, region: string): void {
    if (entry.generation <= facts.generation) return;
    const prefix = generationPrefix(entry.generation);
    facts.useGeneration(entry.generation);
    for (const [key, value] of entry.pairs) this.#store.put(prefix + key, value);
    this.#addToSum(entry.generation, entry.pairs);
    const own = this.#regionIndex(prefix, region);
    for (const [key, value] of entry.pairs) {
      if (!key.startsWith(KEY_PREFIX.slice)) continue;
      const slice = decodeSlice(value);
      if (slice.home === own || this.#isResident(key, slice.id, facts)) continue;
      facts.addPending(factOf(slice), { inode: 0, nowMs: entry.nowMs, generation: entry.generation });
    }
  }

  /** The sum is part of the state, so that every member decides alike at the flip, also one that has restarted meanwhile. */
  #addToSum(generation: number, pairs: readonly Pair[]): void {
    this.#store.put(loadedSumKey(generation), encodeRecord(addPairs(this.#sumOf(generation), pairs)));
  }

  #sumOf(generation: number): PairSum {
    const value = this.#store.get(loadedSumKey(generation));
    return value === undefined ? NO_PAIRS : decodeRecord<PairSum>(value);
  }

  /** Whether what was loaded of the generation is what the snapshot's source stated: every key, and the state hash. */
  isWhole({ generation, stateHash, keys }: Extract<LocalEntry, { kind: "flip" }>): boolean {
    const sum = this.#sumOf(generation);
    const stored = this.#store.get(generationPrefix(generation) + HASH_KEY);
    return sum.keys === keys && `${new StateHash(sum)}` === stateHash && isWholeVolume(sum, stored);
  }

  /** Makes sure that a generation that is not whole never becomes the live one, and deletes its keys. */
  refuse(generation: number): void {
    this.#store.put(loadedSumKey(generation), undefined);
    // If the disk fails, the next turn reports it.
    this.#enqueue(() => this.#sweepOne(generation)).catch(() => {});
  }

  /** Whether the live generation names the slice and it is not pending there. */
  #isResident(key: string, slice: number, facts: RegionFacts): boolean {
    return this.#store.get(generationPrefix(facts.generation) + key) !== undefined && !facts.isPending(slice);
  }

  /** Undefined if the region is not in the volume's record, which comes with the first part. */
  #regionIndex(prefix: string, region: string): RegionIndex | undefined {
    const volume = this.#store.get(prefix + VOLUME_KEY);
    return volume === undefined ? undefined : regionIndex(RECORDS.volume.decode(volume), region);
  }

  /** The pairs of a snapshot's live generation under their plain keys, the volume's record and the hash first. */
  async read(snapshot: StateSnapshot): Promise<{ pages: AsyncIterable<Pair[]>; release(): Promise<void> }> {
    const prefix = generationPrefix(await liveGenerationIn(snapshot));
    return { pages: volumePages(snapshot, prefix), release: () => snapshot.release() };
  }

  /**
   * What of a replaced generation is garbage: its own garbage, and the slices that it names and the live one does not. Goes
   * on after the last key that was compared, as far as one entry takes. Undefined after `close`.
   */
  nextSorted({ generation, sequence, after }: Sorting, live: VolumeView): Promise<SortedEntry | undefined> {
    return this.#enqueue(async () => {
      const garbage: SortedEntry["garbage"][number][] = [];
      let pages = 0;
      let last = after;
      for (const prefix of [garbagePrefix(generation), generationPrefix(generation) + KEY_PREFIX.slice]) {
        if (last >= afterPrefix(prefix)) continue;
        for await (const page of this.#store.pages(prefix, last > prefix ? last : undefined)) {
          if (this.#closed) return undefined;
          const isGarbage = prefix === garbagePrefix(generation);
          const found = page.map(([, value]) => (isGarbage ? decodeGarbage(value) : garbageOf(value, sequence)));
          const named = await live.readMany(found.map(({ slice }) => sliceKey(slice as SliceId)));
          for (const [i, { record, ...one }] of found.entries()) {
            if (named[i] === undefined) garbage.push({ ...one, record: Buffer.from(record).toString("base64") });
          }
          last = page.at(-1)![0];
          if (garbage.length >= SORTED_MIN || ++pages >= SORTED_PAGES_MAX)
            return { kind: "sorted", generation, after: last, last: false, garbage };
        }
      }
      return { kind: "sorted", generation, after: last, last: true, garbage };
    });
  }

  /** Deletes the keys of every generation before the live one that is not `kept`. Does nothing after `close`. */
  sweep(live: number, kept: readonly number[]): Promise<void> {
    return this.#enqueue(async () => {
      for (let generation = 1; generation < live; generation += 1) {
        if (!kept.includes(generation)) await this.#sweepOne(generation);
      }
    });
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#working.then(work);
    this.#working = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  async #sweepOne(generation: number): Promise<void> {
    for (const prefix of OWN_PREFIXES.map((prefix) => prefix(generation))) {
      if (this.#closed) return;
      for await (const page of this.#store.pages(prefix)) {
        await this.#store.discard(page.map(([key]) => key));
        if (this.#closed) return;
      }
    }
  }

  /** Stops sweeping and sorting; resolves once neither uses the store. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#working;
  }
}

/** A slice that no chunk of the live generation references, since this sequence at the latest. */
function garbageOf(record: Uint8Array, sequence: number): Garbage {
  return { slice: decodeSlice(record).id, sequence, sinceMs: Date.now(), record };
}

async function liveGenerationIn(snapshot: StateSnapshot): Promise<number> {
  for await (const page of snapshot.pages(GENERATION_KEY)) {
    const [key, value] = page[0]!;
    return key === GENERATION_KEY ? decodeRecord<number>(value) : 1;
  }
  return 1;
}

const FIRST_KEYS: readonly string[] = [VOLUME_KEY, HASH_KEY];

async function* volumePages(snapshot: StateSnapshot, prefix: string): AsyncGenerator<Pair[]> {
  const first: Pair[] = [];
  for (const firstKey of FIRST_KEYS) {
    for await (const page of snapshot.pages(prefix + firstKey)) {
      const [key, value] = page[0]!;
      if (key === prefix + firstKey) first.push([firstKey, value]);
      break;
    }
  }
  yield first;
  for await (const page of snapshot.pages(prefix)) {
    const plain: Pair[] = [];
    for (const [key, value] of page) {
      if (!key.startsWith(prefix)) break;
      const own = key.slice(PREFIX_BYTES);
      if (!FIRST_KEYS.includes(own)) plain.push([own, value]);
    }
    if (plain.length > 0) yield plain;
    if (!page.at(-1)![0].startsWith(prefix)) return;
  }
}
