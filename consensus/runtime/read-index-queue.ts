import type { ReadState } from "../raft/state.ts";

type Done = (confirmed: boolean) => void;

/** Pending reads on this member: gathered for a turn, confirmed as one request, then held until their index is applied. */
export class ReadIndexQueue {
  #waiting: Done[] = [];
  #requested = new Map<number, Done[]>();
  #nextId: number;
  /** Ascending by index. */
  #confirmed: { index: number; dones: Done[] }[] = [];

  /**
   * Requests have ids from `firstId` on, which is random: a response to a request from before a restart must match
   * none.
   */
  constructor(firstId: number) {
    this.#nextId = firstId;
  }

  add(done: Done): void {
    this.#waiting.push(done);
  }

  /** @returns the id of one request for all gathered reads; undefined when there are none */
  takeBatch(): number | undefined {
    if (this.#waiting.length === 0) return undefined;
    const id = this.#nextId++;
    this.#requested.set(id, this.#waiting);
    this.#waiting = [];
    return id;
  }

  onReadState(state: ReadState): void {
    const dones = this.#requested.get(state.id) ?? [];
    this.#requested.delete(state.id);
    if (state.index === undefined) for (const done of dones) done(false);
    else this.#confirmed.push({ index: state.index, dones });
  }

  applied(index: number): void {
    while (this.#confirmed.length > 0 && this.#confirmed[0]!.index <= index) {
      for (const done of this.#confirmed.shift()!.dones) done(true);
    }
  }

  failAll(): void {
    const dones = [...this.#waiting, ...[...this.#requested.values(), ...this.#confirmed.map((c) => c.dones)].flat()];
    this.#waiting = [];
    this.#requested.clear();
    this.#confirmed = [];
    for (const done of dones) done(false);
  }
}
