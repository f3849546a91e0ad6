import { encodeSlice, type SliceRecord } from "../../core/codec.ts";
import { compareVersions, NO_VERSION, type Version } from "../../core/ids.ts";
import {
  CLEARED_KEY,
  DIVERGED_KEY,
  decodePending,
  decodeRecord,
  EXCUSED_KEY,
  encodeGarbage,
  encodePending,
  encodeRecord,
  FENCE_KEY,
  type Garbage,
  GENERATION_KEY,
  garbageKey,
  HEARD_KEY,
  LAST_GENERATION_KEY,
  LOSS_KEY,
  type Pending,
  pendingKey,
  pendingTotalsKey,
  type RevokedIds,
  refusedSealKey,
  revokedKey,
  SORTING_KEY,
  type Sorting,
} from "./local-keys.ts";

export interface FactStore {
  get(key: string): Uint8Array | undefined;
  put(key: string, value: Uint8Array | undefined): void;
}

/** A slice with its size in blocks and bytes and its encoded record, which is not decoded here. */
export interface SliceFact {
  readonly slice: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly record: Uint8Array;
}

export interface StoredLossReport {
  /** The epoch that was begun by force. */
  readonly epoch: number;
  /** JSON. */
  readonly text: string;
}

export interface PendingTotals {
  readonly slices: number;
  readonly blocks: number;
  readonly bytes: number;
  /** Blocks that were pending and became resident. */
  readonly copiedBlocks: number;
}

export interface Divergence {
  readonly sequence: number;
  readonly own: string;
  readonly primary: string;
}

/** The lives (region/context.ts) that may act in an epoch, the latest first. */
export interface Clearance {
  readonly epoch: number;
  readonly lives: readonly number[];
}

/** Every member's life, and a few that ended: one that drops out only costs another round of questions. */
const CLEARED_LIVES_MAX = 32;

const NO_CLEARANCE: Clearance = { epoch: 0, lives: [] };
const NO_TOTALS: PendingTotals = { slices: 0, blocks: 0, bytes: 0, copiedBlocks: 0 };

/** The region's own state, besides the volume: pending slices, garbage, the fence, and what is known of the primary. */
export class RegionFacts {
  readonly #store: FactStore;
  #generation = 1;
  #totals = new Map<number, PendingTotals>();
  #dirtyTotals = new Set<number>();
  #added: Pending[] = [];
  #gone: number[] = [];
  fence = 0;
  cleared: Clearance = NO_CLEARANCE;
  /** The regions that an operator has declared gone. */
  excused: readonly string[] = [];
  heard: Version = NO_VERSION;
  diverged: Divergence | undefined;

  constructor(store: FactStore) {
    this.#store = store;
    this.load();
  }

  /** Reads the state anew: the store has just been opened or replaced. */
  load(): void {
    const read = <T>(key: string): T | undefined => {
      const value = this.#store.get(key);
      return value === undefined ? undefined : decodeRecord<T>(value);
    };
    this.#generation = read<number>(GENERATION_KEY) ?? 1;
    this.fence = read<number>(FENCE_KEY) ?? 0;
    this.cleared = read<Clearance>(CLEARED_KEY) ?? NO_CLEARANCE;
    this.excused = read<string[]>(EXCUSED_KEY) ?? [];
    this.heard = read<Version>(HEARD_KEY) ?? NO_VERSION;
    this.diverged = read<Divergence>(DIVERGED_KEY);
    this.#totals.clear();
    this.#dirtyTotals.clear();
  }

  get generation(): number {
    return this.#generation;
  }

  /**
   * The highest generation that was ever started. It may be above the live one: an aborted bootstrap leaves its keys behind.
   */
  get lastGeneration(): number {
    const value = this.#store.get(LAST_GENERATION_KEY);
    return Math.max(this.#generation, value === undefined ? 0 : decodeRecord<number>(value));
  }

  useGeneration(generation: number): void {
    if (generation > this.lastGeneration) this.#store.put(LAST_GENERATION_KEY, encodeRecord(generation));
  }

  get totals(): PendingTotals {
    return this.#totalsOf(this.#generation);
  }

  get lossReport(): StoredLossReport | undefined {
    const value = this.#store.get(LOSS_KEY);
    return value === undefined ? undefined : decodeRecord<StoredLossReport>(value);
  }

  pending(slice: number): Pending | undefined {
    const value = this.#store.get(pendingKey(this.#generation, slice));
    return value === undefined ? undefined : decodePending(value);
  }

  isPending(slice: number): boolean {
    return this.#store.get(pendingKey(this.#generation, slice)) !== undefined;
  }

  isRefused(seal: Version): boolean {
    return this.#store.get(refusedSealKey(seal)) !== undefined;
  }

  /** What became pending and what ceased to be since the last call. Also puts the totals that changed. */
  takeChanges(): { readonly added: readonly Pending[]; readonly gone: readonly number[] } {
    for (const generation of this.#dirtyTotals) {
      this.#store.put(pendingTotalsKey(generation), encodeRecord(this.#totalsOf(generation)));
    }
    this.#dirtyTotals.clear();
    const changes = { added: this.#added, gone: this.#gone };
    this.#added = [];
    this.#gone = [];
    return changes;
  }

  #totalsOf(generation: number): PendingTotals {
    let totals = this.#totals.get(generation);
    if (totals === undefined) {
      const value = this.#store.get(pendingTotalsKey(generation));
      totals = value === undefined ? NO_TOTALS : decodeRecord<PendingTotals>(value);
      this.#totals.set(generation, totals);
    }
    return totals;
  }

  #count(generation: number, pending: { blocks: number; bytes: number }, sign: 1 | -1, copied: boolean): void {
    const totals = this.#totalsOf(generation);
    this.#totals.set(generation, {
      slices: totals.slices + sign,
      blocks: totals.blocks + sign * pending.blocks,
      bytes: totals.bytes + sign * pending.bytes,
      copiedBlocks: totals.copiedBlocks + (copied ? pending.blocks : 0),
    });
    this.#dirtyTotals.add(generation);
  }

  addPending(fact: SliceFact, at: { inode: number; nowMs: number; generation?: number }): void {
    const generation = at.generation ?? this.#generation;
    const key = pendingKey(generation, fact.slice);
    if (this.#store.get(key) !== undefined) return;
    const pending = { ...fact, sinceMs: at.nowMs, inode: at.inode };
    this.#store.put(key, encodePending(pending));
    this.#count(generation, fact, 1, false);
    if (generation === this.#generation) this.#added.push(pending);
  }

  #removePending(slice: number, copied: boolean): void {
    const key = pendingKey(this.#generation, slice);
    const value = this.#store.get(key);
    if (value === undefined) return;
    this.#store.put(key, undefined);
    this.#count(this.#generation, decodePending(value), -1, copied);
    this.#gone.push(slice);
  }

  /** The last reference to a slice is gone: its blocks are garbage, whether or not they have been copied here. */
  dropSlice(fact: SliceFact, at: { sequence: number; nowMs: number }): void {
    this.#removePending(fact.slice, false);
    this.addGarbage({ slice: fact.slice, record: fact.record, sequence: at.sequence, sinceMs: at.nowMs });
  }

  /** Garbage that is known already keeps its sequence. */
  addGarbage(garbage: Garbage): void {
    const key = garbageKey(this.#generation, garbage.slice);
    if (this.#store.get(key) === undefined) this.#store.put(key, encodeGarbage(garbage));
  }

  resident(slices: readonly number[]): void {
    for (const slice of slices) this.#removePending(slice, true);
  }

  collected(slices: readonly number[]): void {
    for (const slice of slices) this.#store.put(garbageKey(this.#generation, slice), undefined);
  }

  revoke(ids: RevokedIds): void {
    this.#store.put(revokedKey(this.#generation, ids.first), encodeRecord(ids));
  }

  /** The blocks under the revoked ranges of ids that begin at these have been deleted. */
  swept(firsts: readonly number[]): void {
    for (const first of firsts) this.#store.put(revokedKey(this.#generation, first), undefined);
  }

  setFence(epoch: number): void {
    if (epoch <= this.fence) return;
    this.fence = epoch;
    this.#store.put(FENCE_KEY, encodeRecord(epoch));
  }

  addCleared(epoch: number, lives: readonly number[]): void {
    const before = this.cleared.epoch === epoch ? this.cleared.lives : [];
    this.#setCleared({ epoch, lives: [...new Set([...lives, ...before])].slice(0, CLEARED_LIVES_MAX) });
  }

  /** An epoch that only renews the counters of the one before: who was cleared then is cleared now. */
  passClearance(from: number, to: number): void {
    if (this.cleared.epoch === from) this.#setCleared({ ...this.cleared, epoch: to });
  }

  #setCleared(cleared: Clearance): void {
    this.cleared = cleared;
    this.#store.put(CLEARED_KEY, encodeRecord(cleared));
  }

  setExcused(region: string, isGone: boolean): void {
    const others = this.excused.filter((one) => one !== region);
    this.excused = isGone ? [...others, region] : others;
    this.#store.put(EXCUSED_KEY, encodeRecord(this.excused));
  }

  isCleared(epoch: number, life: number): boolean {
    return this.cleared.epoch === epoch && this.cleared.lives.includes(life);
  }

  setHeard(version: Version): void {
    if (compareVersions(version, this.heard) <= 0) return;
    this.heard = version;
    this.#store.put(HEARD_KEY, encodeRecord(version));
  }

  setDiverged(diverged: Divergence | undefined): void {
    this.diverged = diverged;
    this.#store.put(DIVERGED_KEY, diverged === undefined ? undefined : encodeRecord(diverged));
  }

  refuseSeal(seal: Version): void {
    this.#store.put(refusedSealKey(seal), encodeRecord(true));
  }

  /** An epoch's first report stays. */
  keepLossReport(report: StoredLossReport): void {
    if (report.epoch > (this.lossReport?.epoch ?? 0)) this.#store.put(LOSS_KEY, encodeRecord(report));
  }

  /**
   * Makes another generation the live one, at `sequence`. The old one is swept, with its pending slices, garbage and revoked
   * ids. Where it was a past of the same history (`isPast`), its slices and garbage are sorted first.
   */
  setGeneration(generation: number, { sequence, isPast }: { sequence: number; isPast: boolean }): void {
    const replaced: Sorting = { generation: this.#generation, sequence, after: "" };
    this.#setSorting(isPast ? [...this.sorting, replaced] : []);
    this.#generation = generation;
    this.#store.put(GENERATION_KEY, encodeRecord(generation));
    this.#added = [];
    this.#gone = [];
    this.setDiverged(undefined);
  }

  /** The replaced generations that are not sorted yet, oldest first. */
  get sorting(): readonly Sorting[] {
    const value = this.#store.get(SORTING_KEY);
    return value === undefined ? [] : decodeRecord<Sorting[]>(value);
  }

  /** `after`: the last key that was compared; undefined: all of them were. */
  sortedUpTo(generation: number, after: string | undefined): void {
    const others = this.sorting.filter((one) => one.generation !== generation || after !== undefined);
    this.#setSorting(others.map((one) => (one.generation === generation ? { ...one, after: after! } : one)));
  }

  #setSorting(sorting: readonly Sorting[]): void {
    this.#store.put(SORTING_KEY, sorting.length === 0 ? undefined : encodeRecord(sorting));
  }
}

export function factOf(slice: SliceRecord): SliceFact {
  return { slice: slice.id, blocks: slice.crc32c.length, bytes: slice.bytes, record: encodeSlice(slice) };
}
