import { assert } from "./assert.ts";
import { type Configuration, decodeConfiguration } from "./configuration.ts";
import type { Entry } from "./entry.ts";
import type { LogPosition } from "./messages.ts";

/** The index at which a term's entries begin. */
interface TermRun {
  readonly term: number;
  readonly first: number;
}

export interface LogStart {
  readonly base: LogPosition;
  readonly lastIndex: number;
  readonly termStarts: readonly { readonly term: number; readonly index: number }[];
  readonly commit: number;
  /** Every entry up to here has been given to the machine. */
  readonly applied: number;
  /** The entries from applied + 1 on. */
  readonly tail: readonly Entry[];
  /** The one that held at the base, then each that an entry after it brought. */
  readonly configurations: readonly Configuration[];
}

/** What an entry takes in memory beside its bytes: the objects that it is made of. Several times the bytes, for small ones. */
const ENTRY_BYTES = 300;

/**
 * The member's view of its log. The terms of all entries are known (they are few), the entries themselves only from
 * `tailFirst` on: all that are not yet applied or not yet durable, and as many older ones as fit a bound.
 *
 * base.index < … ≤ applied ≤ commit; applied ≤ stable ≤ lastIndex; commit may be ahead of stable.
 */
export class Log {
  base: LogPosition;
  lastIndex: number;
  /** Highest index up to which everything is durable here. */
  stable: number;
  /** First index not yet handed out to be saved. */
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
    assert(this.#configurations.length > 0, "a log begins with a configuration");
    this.#tail = [...start.tail];
    this.#tailFirst = start.lastIndex + 1 - start.tail.length;
    for (const entry of start.tail) this.#tailBytes += weightOf(entry);
    this.#tailBytesMax = tailBytesMax;
    assert(this.#tailFirst <= start.applied + 1, "every entry that is not applied is in memory");
  }

  get firstIndex(): number {
    return this.base.index + 1;
  }

  /** Committed and durable here. */
  get readable(): number {
    return Math.min(this.commit, this.stable);
  }

  get last(): LogPosition {
    return { index: this.lastIndex, term: this.lastTerm };
  }

  get lastTerm(): number {
    return this.#runs.at(-1)?.term ?? this.base.term;
  }

  /** The latest in the log, committed or not: it holds from when it is appended (§4.1). */
  get configuration(): Configuration {
    return this.#configurations.at(-1)!;
  }

  /** The one that held after the entry at `index`; at or after the base. */
  configurationAt(index: number): Configuration {
    return this.#configurations.findLast((one) => one.index <= index) ?? this.#configurations[0]!;
  }

  /** Undefined outside of [base, last]. */
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

  /** §3.6.1: is a log that ends there at least as up-to-date as this one? */
  isUpToDate(last: LogPosition): boolean {
    return last.term > this.lastTerm || (last.term === this.lastTerm && last.index >= this.lastIndex);
  }

  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, "entries are appended without a gap");
    assert(entry.term >= this.lastTerm, "terms never fall along the log");
    if (entry.term !== this.#runs.at(-1)?.term) this.#runs.push({ term: entry.term, first: entry.index });
    if (entry.kind === "configuration") this.#configurations.push(decodeConfiguration(entry.index, entry.data));
    this.#tail.push(entry);
    this.#tailBytes += weightOf(entry);
    this.lastIndex = entry.index;
  }

  /**
   * Figure 3.1, AppendEntries 3–4: removes what conflicts, appends what is missing. The entry before the first must
   * match already. A shorter prefix that agrees removes nothing: the message may be an old one.
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

  /** Largest index ≤ `index` whose term is ≤ `term`: where two logs could agree, when they don't at `index`. */
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

  /** Entries from `from` on, at least one and about `bytesMax`; undefined when they are not in memory any more. */
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

  /** The entry at `position` and all before it are durable; says nothing if another entry has taken its place since. */
  saved(position: LogPosition): void {
    if (position.index > this.stable && this.matches(position)) this.stable = position.index;
  }

  /** What is to be applied next. */
  takeCommitted(bytesMax: number): readonly Entry[] {
    const through = this.readable;
    if (through <= this.applied) return [];
    const entries = this.slice(this.applied + 1, bytesMax, through);
    assert(entries !== undefined, "every entry that is not applied is in memory");
    this.applied = entries.at(-1)!.index;
    this.#evict();
    return entries;
  }

  cut(through: number): void {
    assert(through <= this.applied && through <= this.stable, "only what is applied and durable is cut");
    if (through <= this.base.index) return;
    this.base = { index: through, term: this.term(through)! };
    this.#runs = this.#runs.filter((_, i) => (this.#runs[i + 1]?.first ?? this.lastIndex + 1) > through + 1);
    this.#configurations = this.#configurations.filter((_, i, all) => (all[i + 1]?.index ?? through + 1) > through);
    if (through >= this.#tailFirst) this.#dropTail(through + 1);
  }

  /** The log goes on after a snapshot; everything it held is gone. */
  reset(at: LogPosition, configuration: Configuration): void {
    assert(at.index > this.commit, "a snapshot takes the log forward");
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
    assert(last >= this.commit, "what is committed is never removed");
    const removed = this.#tail.splice(last + 1 - this.#tailFirst);
    for (const entry of removed) this.#tailBytes -= weightOf(entry);
    while ((this.#runs.at(-1)?.first ?? 0) > last) this.#runs.pop();
    while (this.configuration.index > last) this.#configurations.pop();
    this.lastIndex = last;
    this.stable = Math.min(this.stable, last);
    this.unsavedFrom = Math.min(this.unsavedFrom, last + 1);
  }

  /** In large steps, since the front of an array is moved. */
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

/** About what an entry takes in memory. */
function weightOf(entry: Entry): number {
  return entry.encoded.length + ENTRY_BYTES;
}
