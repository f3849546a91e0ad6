import { assert } from "./assert.ts";
import { type Configuration, decodeConfiguration } from "./configuration.ts";
import type { Entry } from "./entry.ts";
import type { LogPosition } from "./messages.ts";

/** The first entry of a term. */
interface TermRun {
  readonly term: number;
  readonly first: number;
}

export interface LogStart {
  readonly base: LogPosition;
  readonly lastIndex: number;
  readonly termStarts: readonly { readonly term: number; readonly index: number }[];
  readonly commit: number;
  /** Index of the last entry that the machine has applied. */
  readonly applied: number;
  /** The entries from applied + 1 on. */
  readonly tail: readonly Entry[];
  /** The one in effect at the base, then those of later entries, ascending. */
  readonly configurations: readonly Configuration[];
}

/** Memory that an entry takes beside its encoded bytes, about. For a small entry this is several times its bytes. */
const ENTRY_BYTES = 300;

/**
 * A member's log in memory. The terms of all entries are known, as runs; the entries themselves only from `tailFirst` on:
 * those not yet applied or not yet durable, and as many older ones as fit `tailBytesMax`.
 *
 * base.index ≤ applied ≤ commit; applied ≤ stable ≤ lastIndex; commit may be ahead of stable.
 */
export class Log {
  /** The position before the first entry: the last one compacted, or a snapshot's. */
  base: LogPosition;
  lastIndex: number;
  /** All entries up to here are durable on this member. */
  stable: number;
  /** Index of the first entry not yet handed out by takeUnsaved. */
  unsavedFrom: number;
  commit: number;
  applied: number;
  #runs: TermRun[];
  #configurations: Configuration[];
  #tail: Entry[];
  #tailFirst: number;
  #tailBytes = 0;
  readonly #tailBytesMax: number;

  constructor(start: LogStart, tailBytesMax: number) {
    this.base = start.base;
    this.lastIndex = start.lastIndex;
    this.stable = start.lastIndex;
    this.unsavedFrom = start.lastIndex + 1;
    this.commit = start.commit;
    this.applied = start.applied;
    this.#runs = start.termStarts.map(({ term, index }) => ({ term, first: index }));
    this.#configurations = [...start.configurations];
    assert(this.#configurations.length > 0, "a log has a configuration");
    this.#tail = [...start.tail];
    this.#tailFirst = start.lastIndex + 1 - start.tail.length;
    for (const entry of start.tail) this.#tailBytes += weightOf(entry);
    this.#tailBytesMax = tailBytesMax;
    assert(this.#tailFirst <= start.applied + 1, "every unapplied entry is in memory");
  }

  get firstIndex(): number {
    return this.base.index + 1;
  }

  /** Index of the last entry that is committed and durable on this member. */
  get readable(): number {
    return Math.min(this.commit, this.stable);
  }

  get last(): LogPosition {
    return { index: this.lastIndex, term: this.lastTerm };
  }

  get lastTerm(): number {
    return this.#runs.at(-1)?.term ?? this.base.term;
  }

  /** The latest in the log, committed or not: a configuration takes effect when it is appended (§4.1). */
  get configuration(): Configuration {
    return this.#configurations.at(-1)!;
  }

  /** The one in effect at `index`, which is not below the base. */
  configurationAt(index: number): Configuration {
    return this.#configurations.findLast((one) => one.index <= index) ?? this.#configurations[0]!;
  }

  /** Of the entry at `index`; undefined outside of [base, last]. */
  term(index: number): number | undefined {
    if (index > this.lastIndex || index < this.base.index) return undefined;
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i]!;
      if (run.first <= index) return run.term;
    }
    return this.base.term;
  }

  matches(position: LogPosition): boolean {
    return this.term(position.index) === position.term;
  }

  /** Whether a log that ends at `last` is at least as up-to-date as this one (§3.6.1). */
  isUpToDate(last: LogPosition): boolean {
    return last.term > this.lastTerm || (last.term === this.lastTerm && last.index >= this.lastIndex);
  }

  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, "entries are appended without a gap");
    assert(entry.term >= this.lastTerm, "terms never decrease along the log");
    if (entry.term !== this.#runs.at(-1)?.term) this.#runs.push({ term: entry.term, first: entry.index });
    if (entry.kind === "configuration") this.#configurations.push(decodeConfiguration(entry.index, entry.data));
    this.#tail.push(entry);
    this.#tailBytes += weightOf(entry);
    this.lastIndex = entry.index;
  }

  /**
   * Figure 3.1, AppendEntries steps 3 and 4: removes conflicting entries, appends missing ones. The entry before the first
   * must match already. Entries after the last one given stay if there is no conflict: the message may be a delayed one.
   */
  merge(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.index <= this.lastIndex) {
        if (entry.index <= this.base.index || this.term(entry.index) === entry.term) continue;
        this.#truncate(entry.index - 1);
      }
      this.push(entry);
    }
  }

  /**
   * The last position with index ≤ `index` and term ≤ `term`: where a log with entry (`index`, `term`) may match this
   * one.
   */
  lastNotAfter(index: number, term: number): LogPosition {
    let at = Math.min(index, this.lastIndex);
    for (let i = this.#runs.length - 1; i >= 0 && at > this.base.index; i--) {
      const run = this.#runs[i]!;
      if (run.first > at) continue;
      if (run.term <= term) return { index: at, term: run.term };
      at = run.first - 1;
    }
    return { index: Math.max(at, this.base.index), term: this.base.term };
  }

  /** Entries from `from` on, at least one, about `bytesMax` of them; undefined when they are no longer in memory. */
  slice(from: number, bytesMax: number, through = this.lastIndex): readonly Entry[] | undefined {
    if (from < this.#tailFirst) return undefined;
    let end = from - this.#tailFirst;
    const limit = Math.min(through, this.lastIndex) - this.#tailFirst + 1;
    for (let bytes = 0; end < limit && bytes < bytesMax; end++) bytes += this.#tail[end]!.encoded.length;
    return this.#tail.slice(from - this.#tailFirst, end);
  }

  get hasUnsaved(): boolean {
    return this.unsavedFrom <= this.lastIndex;
  }

  takeUnsaved(): readonly Entry[] {
    if (!this.hasUnsaved) return [];
    const entries = this.#tail.slice(this.unsavedFrom - this.#tailFirst);
    this.unsavedFrom = this.lastIndex + 1;
    return entries;
  }

  /** The entry at `position` and all before it are durable. Ignored if that entry has been replaced since. */
  saved(position: LogPosition): void {
    if (position.index > this.stable && this.matches(position)) this.stable = position.index;
  }

  /** The next entries to apply, about `bytesMax` of them. */
  takeCommitted(bytesMax: number): readonly Entry[] {
    const through = this.readable;
    if (through <= this.applied) return [];
    const entries = this.slice(this.applied + 1, bytesMax, through);
    assert(entries !== undefined, "every unapplied entry is in memory");
    this.applied = entries.at(-1)!.index;
    this.#evict();
    return entries;
  }

  /** Compacts: forgets the entries up to and including `through`. */
  cut(through: number): void {
    assert(through <= this.applied && through <= this.stable, "only applied and durable entries are compacted");
    if (through <= this.base.index) return;
    this.base = { index: through, term: this.term(through)! };
    this.#runs = this.#runs.filter((_, i) => (this.#runs[i + 1]?.first ?? this.lastIndex + 1) > through + 1);
    this.#configurations = this.#configurations.filter((_, i, all) => (all[i + 1]?.index ?? through + 1) > through);
    if (through >= this.#tailFirst) this.#dropTail(through + 1);
  }

  /** Replaces the log by a snapshot's position. */
  reset(at: LogPosition, configuration: Configuration): void {
    assert(at.index > this.commit, "a snapshot is ahead of the commit index");
    this.#configurations = [configuration];
    this.base = at;
    this.lastIndex = at.index;
    this.stable = at.index;
    this.unsavedFrom = at.index + 1;
    this.commit = at.index;
    this.applied = at.index;
    this.#runs = [];
    this.#tail = [];
    this.#tailFirst = at.index + 1;
    this.#tailBytes = 0;
  }

  #truncate(last: number): void {
    assert(last >= this.commit, "a committed entry is never removed");
    const removed = this.#tail.splice(last + 1 - this.#tailFirst);
    for (const entry of removed) this.#tailBytes -= weightOf(entry);
    while ((this.#runs.at(-1)?.first ?? 0) > last) this.#runs.pop();
    while (this.configuration.index > last) this.#configurations.pop();
    this.lastIndex = last;
    this.stable = Math.min(this.stable, last);
    this.unsavedFrom = Math.min(this.unsavedFrom, last + 1);
  }

  /** Down to half of the bound at once, since removing the front of an array moves the rest. */
  #evict(): void {
    if (this.#tailBytes <= this.#tailBytesMax) return;
    let first = this.#tailFirst;
    const unneeded = Math.min(this.applied, this.stable);
    for (let bytes = this.#tailBytes; first <= unneeded && bytes > this.#tailBytesMax / 2; first++) {
      bytes -= weightOf(this.#tail[first - this.#tailFirst]!);
    }
    this.#dropTail(first);
  }

  #dropTail(first: number): void {
    for (const entry of this.#tail.splice(0, first - this.#tailFirst)) this.#tailBytes -= weightOf(entry);
    this.#tailFirst = first;
  }
}

function weightOf(entry: Entry): number {
  return entry.encoded.length + ENTRY_BYTES;
}
