import type { Role } from "../../../consensus/raft/state.ts";
import { invariant } from "../environment/world.ts";

/** What is to be seen of a member after each of its turns. */
export interface MemberView {
  readonly id: number;
  readonly role: Role;
  readonly term: number;
  readonly log: { readonly commit: number; readonly applied: number; readonly lastIndex: number };
}

/** An entry as it lies on the disk: its term is part of the bytes. */
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
 * What must hold in one group over the whole run, on all its members together (dissertation, figure 3.2). Throws where
 * it does not. Looks at what members do and at what lies on their disks, not at what they say of themselves.
 */
export class RaftChecker {
  readonly #group: string;
  readonly #leaders = new Map<number, number>();
  /** By index and term. */
  readonly #entries = new Map<string, { readonly encoded: Uint8Array; readonly previousTerm: number | undefined }>();
  readonly #committed: (Known | undefined)[] = [];
  readonly #durableTerm = new Map<number, number>();
  elections = 0;

  constructor(group: string) {
    this.#group = group;
  }

  /** The highest index that is known to be committed. */
  get committedIndex(): number {
    return this.#committed.length - 1;
  }

  leaderOf(term: number): number | undefined {
    return this.#leaders.get(term);
  }

  /** After each turn of a member. */
  observe({ id, role, term, log }: MemberView): void {
    const name = `${this.#group}-${id}`;
    invariant(log.applied <= log.commit, () => `${name} has applied ${log.applied} and committed ${log.commit}`);
    invariant(log.commit <= log.lastIndex, () => `${name} has committed ${log.commit} of ${log.lastIndex} entries`);
    invariant(term >= (this.#durableTerm.get(id) ?? 0), () => `the term of ${name} fell to ${term}`);
    if (role !== "leader") return;
    const known = this.#leaders.get(term);
    invariant(
      known === undefined || known === id,
      () => `one leader a term: ${known} and ${id} of ${this.#group} in ${term}`,
    );
    if (known !== undefined) return;
    this.#leaders.set(term, id);
    this.elections++;
  }

  /** A term that a member's disk holds is never forgotten. */
  observeHardState(id: number, term: number): void {
    const before = this.#durableTerm.get(id) ?? 0;
    invariant(term >= before, () => `the term on the disk of ${this.#group}-${id} fell from ${before} to ${term}`);
    this.#durableTerm.set(id, term);
  }

  /** Log matching: an index and a term name one entry and all before it. */
  observeStoredEntry(id: number, entry: StoredEntry, previousTerm: number | undefined): void {
    const name = `${entry.index}@${entry.term}`;
    const known = this.#entries.get(name);
    if (known === undefined) {
      this.#entries.set(name, { encoded: entry.encoded, previousTerm });
      return;
    }
    const fits = previousTerm === undefined || known.previousTerm === undefined || previousTerm === known.previousTerm;
    invariant(
      fits && isSame(known.encoded, entry.encoded),
      () => `log matching: two entries ${name}, the second at ${this.#group}-${id}`,
    );
  }

  /** Leader completeness: the leader's first entry stands behind everything that was committed in earlier terms. */
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
        termAt(index) === known.term,
        () => `leader completeness: ${this.#group}-${id} leads term ${first.term} without the committed entry ${index}`,
      );
    }
    const beyond = this.#committed.findIndex(
      (known, index) => index >= first.index && known !== undefined && known.term < first.term,
    );
    invariant(
      beyond === -1,
      () => `leader completeness: ${this.#group}-${id} leads term ${first.term} without the committed entry ${beyond}`,
    );
  }

  /** State machine safety: what a member has handed to its machine is what every other has, or will have. */
  observeCommitted(id: number, index: number, term: number, encoded: Uint8Array): void {
    const known = this.#committed[index];
    if (known === undefined) {
      this.#committed[index] = { term, encoded, by: id };
      return;
    }
    invariant(
      known.term === term && isSame(known.encoded, encoded),
      () =>
        `what is committed never changes: ${this.#group}-${id} applies an entry of term ${term} at ${index}, where ${this.#group}-${known.by} applied another, of term ${known.term}`,
    );
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a === b || Buffer.compare(a, b) === 0;
}
