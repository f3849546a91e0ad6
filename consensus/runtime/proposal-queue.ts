import type { Proposed } from "../group.ts";

type Done = (result: Proposed) => void;

/** Pending proposals on this member: first queued for the turn, then by index in the log of its term as leader. */
export class ProposalQueue {
  readonly #max: number;
  #queuedData: Uint8Array[] = [];
  #queuedDone: Done[] = [];
  /** By index. All were appended in `#term`. */
  #inLog = new Map<number, Done>();
  #term = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get isFull(): boolean {
    return this.#queuedDone.length + this.#inLog.size >= this.#max;
  }

  /** Waits for the next turn. */
  queue(data: Uint8Array, done: Done): void {
    this.#queuedData.push(data);
    this.#queuedDone.push(done);
  }

  get queuedData(): readonly Uint8Array[] {
    return this.#queuedData;
  }

  /** Everything queued is now in the log, from index `first` on. */
  appended(first: number, term: number): void {
    this.#term = term;
    let index = first;
    for (const done of this.#queuedDone) this.#inLog.set(index++, done);
    this.#queuedData = [];
    this.#queuedDone = [];
  }

  /** Of an entry that was appended without being queued. */
  append(index: number, term: number, done: Done): void {
    this.#term = term;
    this.#inLog.set(index, done);
  }

  /** This member is not the leader. */
  refuseQueued(): void {
    const refused = this.#queuedDone;
    this.#queuedData = [];
    this.#queuedDone = [];
    for (const done of refused) done({ ok: false, reason: "not-leader" });
  }

  /**
   * Answers `unknown` unless this member is still the leader of their term: another leader may keep the entries or
   * replace them.
   */
  leaveTerm(leadingTerm: number | undefined): void {
    if (this.#inLog.size === 0 || this.#term === leadingTerm) return;
    const lost = this.#inLog;
    this.#inLog = new Map();
    for (const done of lost.values()) done({ ok: false, reason: "unknown" });
  }

  applied(index: number, outcome: unknown): void {
    const done = this.#inLog.get(index);
    if (done === undefined) return;
    this.#inLog.delete(index);
    done({ ok: true, index, outcome });
  }
}
