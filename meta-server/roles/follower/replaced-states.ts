import { setTimeout as delay } from "node:timers/promises";
import type { ServerContext } from "../../region/context.ts";

const RETRY_MS = 1_000;

/**
 * What the leader does with the states that bootstraps have replaced: the slices that only they name become garbage, so that
 * the region's bucket does not keep them for ever; then their keys are deleted. A new leader goes on where the last one
 * stopped.
 */
export class ReplacedStates {
  readonly #context: ServerContext;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(context: ServerContext) {
    this.#context = context;
  }

  /** Rejects when the state could not be read. */
  clear(): Promise<void> {
    const work = this.#work.then(() => this.#clear());
    this.#work = work.catch(() => {});
    return work;
  }

  async #clear(): Promise<void> {
    const { group, machine, proposer } = this.#context;
    while (!this.#closed && group.leading) {
      const entry = await machine.nextSorted();
      if (entry === undefined) return machine.sweep();
      if (!(await proposer.local(entry))) await delay(RETRY_MS, undefined, { ref: false });
    }
  }

  close(): void {
    this.#closed = true;
  }
}
