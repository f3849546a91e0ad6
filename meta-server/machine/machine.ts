import { UserError } from "../../base/user-error.ts";
import type { GroupEntry, MachineSnapshot, StateMachine } from "../../consensus/group.ts";
import { isOnChangelog } from "../../core/changelog.ts";
import { featuresIn } from "../../core/codec/records.ts";
import { decodeEntry, type Entry } from "../../core/codec.ts";
import type { Outcome, Stamp } from "../../core/commands.ts";
import { applyEntry, type Refusal } from "../../core/entries.ts";
import { FEATURE_LEVEL, levelIn, tooOld } from "../../core/features.ts";
import { epochRegion, type RegionIndex, type Time, type Version } from "../../core/ids.ts";
import { VOLUME_KEY } from "../../core/keys.ts";
import { regionIndex } from "../../core/regions.ts";
import type { Effects, Tree } from "../../core/tree.ts";
import type { StateStore } from "../storage/state-store.ts";
import { CHECKPOINT_EVERY, Checkpoints, type Retention } from "./checkpoints.ts";
import { Generations } from "./generations.ts";
import { applyLocal, type LocalTarget } from "./local-apply.ts";
import { decodeLocal, isLocal, type LocalEntry } from "./local-entries.ts";
import {
  APPLIED_KEY,
  CHECKPOINT_PREFIX,
  decodeRecord,
  encodeRecord,
  type Pending,
  REFUSED_ENTRY_PREFIX,
} from "./local-keys.ts";
import { RefusedEntries } from "./refused-entries.ts";
import { factOf, RegionFacts } from "./region-facts.ts";
import { LogRetention } from "./retention.ts";
import { restoreStore, snapshotParts } from "./snapshot.ts";
import { afterPrefix, TurnStore } from "./turn-store.ts";
import { VolumeView } from "./volume-view.ts";

export type Applied =
  | { readonly taken: true; readonly version: Version; readonly outcome: Outcome; readonly encoded: Uint8Array }
  | { readonly taken: false; readonly refusal: Refusal | OwnRefusal };

/** Why this region refuses an entry that the sequencer would take: for what its group has committed besides the volume. */
type OwnRefusal = "fenced" | "diverged" | "refused";

export type Role = "primary" | "mirror" | "sealed" | "fenced" | "unformatted";

/** An entry of the changelog, as it was applied. */
export interface TakenEntry {
  readonly previous: Version;
  readonly version: Version;
  /** Stamp and command, as they are sent to the mirrors. */
  readonly body: Uint8Array;
}

/** What one turn changed, for its listeners. */
export interface Turn {
  readonly index: number;
  readonly version: Version;
  readonly stateHash: string;
  readonly taken: readonly TakenEntry[];
  readonly effects: readonly Effects[];
  readonly pendingAdded: readonly Pending[];
  readonly pendingGone: readonly number[];
  /** Another generation has become the live one: nothing that was read before is valid. */
  readonly flipped: boolean;
}

interface AppliedRecord {
  readonly index: number;
  readonly time: Time;
  readonly logBytes: number;
}

const NOTHING_APPLIED: AppliedRecord = { index: 0, time: { seconds: 0, nanoseconds: 0 }, logBytes: 0 };
const RECENT_HASHES = 4_096;

export interface MachineOptions {
  readonly region: string;
  readonly retain: Retention;
  /** The highest feature level that this server knows. */
  readonly supports?: number;
  /** The disk failed: from here on nothing may be acknowledged. */
  readonly onError: (error: Error) => void;
}

/** Raft's state machine: applies committed entries, turn by turn, to the volume and to the region's own state. */
export class Machine implements StateMachine {
  readonly #options: MachineOptions;
  readonly #store: TurnStore;
  readonly facts: RegionFacts;
  readonly checkpoints = new Checkpoints();
  readonly refusedEntries = new RefusedEntries();
  readonly #generations: Generations;
  readonly #retention: LogRetention;
  readonly #listeners = new Set<(turn: Turn) => void>();
  readonly #hashes = new Map<number, string>();
  #view: VolumeView;
  #index = 0;
  /** The stamp of the last command. */
  #time: Time = { seconds: 0, nanoseconds: 0 };
  #logBytes = 0;
  #durableIndex = 0;
  #taken: TakenEntry[] = [];
  #effects: Effects[] = [];
  #flipped = false;
  readonly #put = (key: string, value: Uint8Array | undefined): void => this.#store.put(key, value);

  private constructor(store: TurnStore, options: MachineOptions) {
    this.#options = options;
    this.#store = store;
    this.facts = new RegionFacts(store);
    this.#view = new VolumeView(store, this.facts.generation);
    this.#readApplied();
    this.#generations = new Generations(store);
    this.#retention = new LogRetention(this.checkpoints, options.retain);
  }

  /** @throws UserError if the volume is at a feature level that this server does not know. */
  static async open(store: StateStore, options: MachineOptions): Promise<Machine> {
    const machine = new Machine(new TurnStore(store), options);
    machine.#requireSupport(machine.tree.features);
    await machine.#load();
    return machine;
  }

  async #load(): Promise<void> {
    await this.checkpoints.load(this.#store.pages(CHECKPOINT_PREFIX));
    await this.refusedEntries.load(this.#store.pages(REFUSED_ENTRY_PREFIX));
    if (this.#index === 0) this.checkpoints.addGenesis(Date.now(), this.#put);
    this.#rememberHash();
  }

  /** Before anything of that level is applied, since it would be applied by other rules than elsewhere. */
  #requireSupport(level: number): void {
    const reason = tooOld(level, this.#options.supports ?? FEATURE_LEVEL);
    if (reason !== undefined) throw new UserError(reason, 2);
  }

  #readApplied(): void {
    const value = this.#store.get(APPLIED_KEY);
    const { index, time, logBytes } = value === undefined ? NOTHING_APPLIED : decodeRecord<AppliedRecord>(value);
    this.#index = index;
    this.#time = time;
    this.#logBytes = logBytes;
    this.#durableIndex = index;
  }

  // The state

  get appliedIndex(): number {
    return this.#index;
  }

  get durableIndex(): number {
    return this.#durableIndex;
  }

  get version(): Version {
    return this.tree.version;
  }

  get stateHash(): string {
    return this.tree.stateHash;
  }

  /** The live generation of the volume. A flip or a restore replaces it: do not keep it. */
  get view(): VolumeView {
    return this.#view;
  }

  get tree(): Tree {
    return this.#view.tree;
  }

  get lastTime(): Time {
    return this.#time;
  }

  /** This region's index in the volume; undefined before `format`, or if the volume does not have this region. */
  get regionIndex(): RegionIndex | undefined {
    return regionIndex(this.tree.volume, this.#options.region);
  }

  /** The region that began the current epoch; empty before `format`. */
  get primary(): string {
    const volume = this.tree.volume;
    return volume === undefined ? "" : (volume.regions[epochRegion(volume.version.epoch)]?.name ?? "");
  }

  /** A function of the state alone. */
  get role(): Role {
    const volume = this.tree.volume;
    if (volume === undefined) return "unformatted";
    if (this.primary !== this.#options.region) return "mirror";
    if (this.facts.fence > volume.version.epoch) return "fenced";
    return volume.sealedTo === undefined ? "primary" : "sealed";
  }

  /** What the region reports of itself: its role, or that its state differs from the primary's. */
  get state(): Role | "diverged" {
    return this.facts.diverged === undefined ? this.role : "diverged";
  }

  /** The state hash at a sequence; known at recent ends of turns and at checkpoints. */
  hashAt(sequence: number): string | undefined {
    return this.#hashes.get(sequence) ?? this.checkpoints.at(sequence)?.stateHash;
  }

  /** The region's own pairs whose key begins with `prefix`, after the key `after`, page by page. */
  localPages(prefix: string, after?: string): AsyncGenerator<readonly (readonly [string, Uint8Array])[]> {
    return this.#store.pages(prefix, after);
  }

  /** The first value of the region's own keys that begin with `prefix`. */
  async localFirst(prefix: string): Promise<Uint8Array | undefined> {
    const [first] = await this.#store.range(prefix, afterPrefix(prefix), 1);
    return first?.[1];
  }

  onTurn(listener: (turn: Turn) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // Applying

  apply(entries: readonly GroupEntry[]): unknown[] {
    const results = entries.map((entry) => {
      this.#index = entry.index;
      this.#logBytes += entry.data.length;
      return entry.kind === "application" ? this.#applyOne(entry) : undefined;
    });
    this.#endTurn();
    return results;
  }

  #applyOne(entry: GroupEntry): Applied | boolean {
    if (!isLocal(entry.data)) return this.#applyCommand(entry);
    applyLocal(this.#localTarget(), decodeLocal(entry.data));
    return true;
  }

  #applyCommand({ data }: GroupEntry): Applied {
    const entry = decodeEntry(data);
    this.#requireSupport(levelIn(entry.command) ?? 0);
    const previous = this.tree.version;
    const refusal = this.#refusalOf(entry);
    const result = refusal === undefined ? applyEntry(this.tree, entry) : ({ taken: false, refusal } as const);
    if (result.taken) {
      if (entry.command.kind === "beginEpoch" && entry.command.how === "counters") {
        this.facts.passClearance(previous.epoch, result.version.epoch);
      }
      this.#noteTaken(entry.stamp, { previous, version: result.version, body: entry.body }, result.effects);
    } else this.refusedEntries.add(this.#index, this.#put);
    return result;
  }

  /**
   * A diverged region takes nothing that is built on its state. A fenced one takes no command but its own promotion, to an
   * epoch above the one that it was fenced for. An epoch does not begin from a seal that this region has declined.
   */
  #refusalOf({ type, command }: Entry): OwnRefusal | undefined {
    const { fence, diverged } = this.facts;
    const begins = command.kind === "beginEpoch" ? command : undefined;
    if (diverged !== undefined && (type === "followed" || begins !== undefined)) return "diverged";
    if (type === "followed") return undefined;
    if (fence > this.version.epoch && !(begins?.how === "forced" && begins.epoch > fence)) return "fenced";
    return begins?.how === "sealed" && this.facts.isRefused(this.version) ? "refused" : undefined;
  }

  #noteTaken(stamp: Stamp, taken: TakenEntry, effects: Effects): void {
    this.#time = stamp.now;
    this.#taken.push(taken);
    const nowMs = stamp.now.seconds * 1000 + Math.floor(stamp.now.nanoseconds / 1e6);
    const own = this.regionIndex;
    for (const slice of effects.slicesAdded) {
      if (slice.home !== own) this.facts.addPending(factOf(slice), { inode: slice.inode, nowMs });
    }
    for (const slice of effects.slicesDropped) {
      this.facts.dropSlice(factOf(slice), { sequence: taken.version.sequence, nowMs });
    }
    for (const range of effects.revoked) this.facts.revoke({ ...range, sinceMs: nowMs });
    if (taken.version.sequence % CHECKPOINT_EVERY === 0) this.#checkpoint(nowMs);
  }

  #checkpoint(atMs: number): void {
    this.#writeTree();
    const checkpoint = {
      index: this.#index,
      ...this.tree.version,
      stateHash: this.tree.stateHash,
      atMs,
      logBytes: this.#logBytes,
    };
    this.checkpoints.add(checkpoint, this.#put);
  }

  #localTarget(): LocalTarget {
    return {
      facts: this.facts,
      tree: this.tree,
      version: this.version,
      load: (entry) => this.#loadPart(entry),
      flip: (entry) => this.#flip(entry),
    };
  }

  #loadPart(entry: Extract<LocalEntry, { kind: "load" }>): void {
    const volume = entry.pairs.find(([key]) => key === VOLUME_KEY);
    if (volume !== undefined) this.#requireSupport(featuresIn(volume[1]));
    this.#generations.load(entry, this.facts, this.#options.region);
  }

  #flip(entry: Extract<LocalEntry, { kind: "flip" }>): void {
    if (entry.generation <= this.facts.generation || entry.replaces !== this.version.epoch) return;
    if (!this.#generations.isWhole(entry)) {
      this.#generations.refuse(entry.generation);
      return;
    }
    this.#writeTree();
    const old = this.version;
    this.#view = new VolumeView(this.#store, entry.generation);
    const isPast = this.facts.diverged === undefined && isOnChangelog(this.tree, old);
    this.facts.setGeneration(entry.generation, { sequence: this.version.sequence, isPast });
    this.#hashes.clear();
    this.#taken = [];
    this.#effects = [];
    this.#flipped = true;
    this.checkpoints.clear(this.#put);
    this.#checkpoint(this.#time.seconds * 1000);
  }

  /** Puts what the tree has changed, and updates the hash. */
  #writeTree(): void {
    const { puts, effects } = this.tree.takeTurn();
    for (const [key, value] of puts) this.#view.put(key, value);
    for (const effect of effects) this.#effects.push(effect);
    this.#rememberHash();
  }

  #rememberHash(): void {
    this.#hashes.set(this.version.sequence, this.stateHash);
    if (this.#hashes.size > RECENT_HASHES) this.#hashes.delete(this.#hashes.keys().next().value!);
  }

  #endTurn(): void {
    this.#writeTree();
    const { added, gone } = this.facts.takeChanges();
    const index = this.#index;
    const record: AppliedRecord = { index, time: this.#time, logBytes: this.#logBytes };
    this.#store.put(APPLIED_KEY, encodeRecord(record));
    this.#store.endTurn((error) => {
      if (error === undefined) this.#durableIndex = Math.max(this.#durableIndex, index);
      else this.#options.onError(error);
    });
    const turn: Turn = {
      index,
      version: this.version,
      stateHash: this.stateHash,
      taken: this.#taken,
      effects: this.#effects,
      pendingAdded: added,
      pendingGone: gone,
      flipped: this.#flipped,
    };
    this.#taken = [];
    this.#effects = [];
    this.#flipped = false;
    for (const listener of this.#listeners) listener(turn);
  }

  ready(): Promise<void> | undefined {
    return this.#store.full ? this.#store.flush() : undefined;
  }

  // Retention of the log

  /** Keeps the log from this sequence on. @returns the function that releases it */
  pin(sequence: number): () => void {
    return this.#retention.pin(sequence);
  }

  get retainFromIndex(): number {
    const { region } = this.#options;
    const from = this.#retention.fromIndex({
      tree: this.tree,
      region,
      primary: this.primary,
      logBytes: this.#logBytes,
      put: this.#put,
    });
    this.refusedEntries.dropBelow(from, this.#put);
    return from;
  }

  // Snapshots and closing

  async snapshot(): Promise<MachineSnapshot> {
    return snapshotParts(await this.#store.snapshot());
  }

  /** A consistent read of the volume alone, without the region's own state: for a mirror that bootstraps. */
  async volumeSnapshot(): Promise<{
    pages: AsyncIterable<(readonly [string, Uint8Array])[]>;
    release(): Promise<void>;
  }> {
    return this.#generations.read(await this.#store.snapshot());
  }

  async restore(_at: { index: number; term: number }, parts: AsyncIterable<Uint8Array>): Promise<void> {
    await restoreStore(this.#store, parts);
    this.facts.load();
    this.#view = new VolumeView(this.#store, this.facts.generation);
    this.#requireSupport(this.tree.features);
    this.#readApplied();
    this.#hashes.clear();
    this.#flipped = true;
    await this.#load();
  }

  /** The next entry that sorts a replaced generation; undefined when all of them are sorted. */
  async nextSorted(): Promise<Extract<LocalEntry, { kind: "sorted" }> | undefined> {
    const [oldest] = this.facts.sorting;
    return oldest === undefined ? undefined : this.#generations.nextSorted(oldest, this.#view);
  }

  /** Deletes the keys of dead generations that need not be sorted, a page at a time. */
  sweep(): Promise<void> {
    const kept = this.facts.sorting.map(({ generation }) => generation);
    return this.#generations.sweep(this.facts.generation, kept);
  }

  async close(): Promise<void> {
    await this.#generations.close();
    await this.#store.close();
  }
}
