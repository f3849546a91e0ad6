import type { Role } from "../../../consensus/raft/state.ts";
import { invariant } from "../environment/world.ts";

/** A member's state after one of its turns. */
export interface MemberView {
  readonly id: number;
  readonly role: Role;
  readonly term: number;
  readonly log: LogView;
}

/** Of one process: a restarted member has another one. */
interface LogView {
  readonly commit: number;
  readonly applied: number;
  readonly stable: number;
  readonly lastIndex: number;
  term(index: number): number | undefined;
}

/** An entry as stored on disk: its term is part of the bytes. */
export interface StoredEntry {
  readonly index: number;
  readonly term: number;
  readonly isNoop: boolean;
  readonly encoded: Uint8Array;
}

interface Known {
  readonly term: number;
  readonly encoded: Uint8Array;
  readonly by: number;
}

/**
 * Raft's safety properties (dissertation, figure 3.2), checked over the whole run on all members of one group together.
 * It observes what members do and what their disks hold, not what they report.
 * Each method throws a Violation where a property does not hold.
 */
export class RaftChecker {
  readonly #group: string;
  readonly #leaders = new Map<number, number>();
  /** Keyed by index and term. */
  readonly #entries = new Map<string, { readonly encoded: Uint8Array; readonly previousTerm: number | undefined }>();
  readonly #committed: (Known | undefined)[] = [];
  readonly #durableTerm = new Map<number, number>();
  /** By member: its log, and the last durable entry of it. */
  readonly #durable = new Map<number, { readonly log: LogView; readonly index: number; readonly term: number }>();
  elections = 0;

  constructor(group: string) {
    this.#group = group;
  }

  /** The highest index known to be committed. */
  get committedIndex(): number {
    return this.#committed.length - 1;
  }

  leaderOf(term: number): number | undefined {
    return this.#leaders.get(term);
  }

  /** Called after each turn of a member. Election safety: at most one leader per term. */
  observe({ id, role, term, log }: MemberView): void {
    const name = `${this.#group}-${id}`;
    invariant(
      "state machine safety",
      log.applied <= log.commit,
      () => `${name} has applied ${log.applied} but committed ${log.commit}`,
    );
    invariant(
      "state machine safety",
      log.commit <= log.lastIndex,
      () => `${name} has committed ${log.commit} of only ${log.lastIndex} entries`,
    );
    invariant(
      "terms never go back",
      term >= (this.#durableTerm.get(id) ?? 0),
      () => `the term of ${name} went back to ${term}`,
    );
    this.#observeDurable(id, log);
    if (role !== "leader") return;
    const known = this.#leaders.get(term);
    invariant(
      "election safety",
      known === undefined || known === id,
      () => `${known} and ${id} of ${this.#group} both lead term ${term}`,
    );
    if (known !== undefined) return;
    this.#leaders.set(term, id);
    this.elections++;
  }

  /** A member drops durable entries only where another entry takes their place (§3.5): its leader may have counted them. */
  #observeDurable(id: number, log: LogView): void {
    const before = this.#durable.get(id);
    this.#durable.set(id, { log, index: log.stable, term: log.term(log.stable)! });
    if (before?.log !== log || log.stable >= before.index) return;
    const last = Math.min(log.lastIndex, before.index);
    let term: number | undefined = before.term;
    for (let index = before.index; index > last; index--) term = this.#entries.get(`${index}@${term}`)?.previousTerm;
    invariant(
      "log matching",
      term !== log.term(last),
      () =>
        `${this.#group}-${id} dropped its durable entries after ${last} of ${before.index}, which no other replaced`,
    );
  }

  /** A member's durable term never decreases. */
  observeHardState(id: number, term: number): void {
    const before = this.#durableTerm.get(id) ?? 0;
    invariant(
      "terms never go back",
      term >= before,
      () => `the durable term of ${this.#group}-${id} went back from ${before} to ${term}`,
    );
    this.#durableTerm.set(id, term);
  }

  /** The member has lost its disk. */
  forget(id: number): void {
    this.#durableTerm.delete(id);
    this.#durable.delete(id);
  }

  /** Log matching: an index and a term identify one entry and all entries before it. */
  observeStoredEntry(id: number, entry: StoredEntry, previousTerm: number | undefined): void {
    const name = `${entry.index}@${entry.term}`;
    const known = this.#entries.get(name);
    if (known === undefined) {
      this.#entries.set(name, { encoded: entry.encoded, previousTerm });
      return;
    }
    const fits = previousTerm === undefined || known.previousTerm === undefined || previousTerm === known.previousTerm;
    invariant(
      "log matching",
      fits && isSame(known.encoded, entry.encoded),
      () => `there are two entries ${name}, the second at ${this.#group}-${id}`,
    );
  }

  /** Leader completeness: a leader's log holds every entry that was committed in an earlier term. */
  observeLeadership(
    id: number,
    first: StoredEntry,
    termAt: (index: number) => number | undefined,
    baseIndex: number,
  ): void {
    for (let index = baseIndex + 1; index < Math.min(this.#committed.length, first.index); index++) {
      const known = this.#committed[index];
      if (known === undefined || known.term >= first.term) continue;
      invariant(
        "leader completeness",
        termAt(index) === known.term,
        () => `${this.#group}-${id} leads term ${first.term} without the committed entry ${index}`,
      );
    }
    const beyond = this.#committed.findIndex(
      (known, index) => index >= first.index && known !== undefined && known.term < first.term,
    );
    invariant(
      "leader completeness",
      beyond === -1,
      () => `${this.#group}-${id} leads term ${first.term} without the committed entry ${beyond}`,
    );
  }

  /** State machine safety: no two members apply different entries at the same index. */
  observeCommitted(id: number, index: number, term: number, encoded: Uint8Array): void {
    const known = this.#committed[index];
    if (known === undefined) {
      this.#committed[index] = { term, encoded, by: id };
      return;
    }
    invariant(
      "state machine safety",
      known.term === term && isSame(known.encoded, encoded),
      () =>
        `${this.#group}-${id} applies an entry of term ${term} at ${index}, where ${this.#group}-${known.by} applied a different one, of term ${known.term}`,
    );
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a === b || Buffer.compare(a, b) === 0;
}
