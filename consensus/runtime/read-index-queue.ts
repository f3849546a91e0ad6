import type { ReadState } from "../raft/state.ts";

type Done = (confirmed: boolean) => void;

/** Linearizable reads on their way: gathered for a turn, asked of the quorum as one, then held until enough is applied. */
export class ReadIndexQueue {
  #gathered: Done[] = [];
  #asked = new Map<number, Done[]>();
  #nextId: number;
  /** Ascending by index. */
  #confirmed: { index: number; dones: Done[] }[] = [];

  /** Numbered from `firstId` on: an answer to a question of an earlier life of this server must find none. */
  constructor(firstId: number) {
    this.#nextId = firstId;
  }

  gather(done: Done): void {
    this.#gathered.push(done);
  }

  /** @returns the number of the question that stands for all that were gathered; undefined when there are none */
  ask(): number | undefined {
    if (this.#gathered.length === 0) return undefined;
    const id = this.#nextId++;
    this.#asked.set(id, this.#gathered);
    this.#gathered = [];
    return id;
  }

  answered(state: ReadState): void {
    const dones = this.#asked.get(state.id) ?? [];
    this.#asked.delete(state.id);
    if (state.index === undefined) for (const done of dones) done(false);
    else this.#confirmed.push({ index: state.index, dones });
  }

  applied(index: number): void {
    while (this.#confirmed.length > 0 && this.#confirmed[0]!.index <= index) {
      for (const done of this.#confirmed.shift()!.dones) done(true);
    }
  }

  failAll(): void {
    const dones = [...this.#gathered, ...[...this.#asked.values(), ...this.#confirmed.map((c) => c.dones)].flat()];
    this.#gathered = [];
    this.#asked.clear();
    this.#confirmed = [];
    for (const done of dones) done(false);
  }
}
