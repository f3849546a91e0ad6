import type { Timers } from "../../../meta-server/runtime/timers.ts";

/** A generator of which the whole run follows (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 2654435761;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  /** True in `share` of the cases. */
  happens(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)]!;
  }
}

/** More than this without time passing is a loop. */
const MOMENT_STEPS_MAX = 10_000;

interface Happening {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Virtual time: nothing happens but what is scheduled here, in one order for one seed. */
export class World {
  readonly chance: Chance;
  nowMs = 0;
  steps = 0;
  #order = 0;
  #heap: Happening[] = [];
  #promisesTouched = false;
  #stepsOfMoment = 0;

  constructor(seed: number) {
    this.chance = new Chance(seed);
  }

  after(ms: number, run: () => void): void {
    this.#push({ atMs: this.nowMs + ms, order: this.#order++, run });
  }

  /** What runs now settles promises: let those who wait for them go on before anything else happens. */
  touchPromises(): void {
    this.#promisesTouched = true;
  }

  /** Runs until virtual time `untilMs`, calling `check` after every step. */
  async run(untilMs: number, check: () => void): Promise<void> {
    while (this.#heap.length > 0 && this.#heap[0]!.atMs <= untilMs) {
      const happening = this.#pop();
      this.#stepsOfMoment = happening.atMs === this.nowMs ? this.#stepsOfMoment + 1 : 0;
      if (this.#stepsOfMoment > MOMENT_STEPS_MAX) throw new Error("violated: a server spins without end");
      this.nowMs = happening.atMs;
      this.steps++;
      happening.run();
      if (this.#promisesTouched) {
        this.#promisesTouched = false;
        await new Promise((resolve) => setImmediate(resolve));
      }
      check();
    }
    this.nowMs = untilMs;
  }

  /** Timers of one server: silent once it is dead, skipped while it is paused. */
  timers(isAlive: () => boolean, isPaused: () => boolean, clockRate: () => number): Timers {
    const soon = (run: () => void) =>
      this.after(0, () => {
        if (!isAlive()) return;
        if (isPaused()) this.after(50, () => soon(run));
        else run();
      });
    const after = (ms: number, run: () => void) => {
      let cancelled = false;
      this.after(ms / clockRate(), () => {
        if (!cancelled) soon(run);
      });
      return () => {
        cancelled = true;
      };
    };
    const every = (ms: number, run: () => void) => {
      let cancelled = false;
      const again = () => {
        if (cancelled || !isAlive()) return;
        if (!isPaused()) run();
        this.after((ms / clockRate()) * this.chance.between(0.9, 1.1), again);
      };
      this.after(ms, again);
      return () => {
        cancelled = true;
      };
    };
    return { soon, every, after };
  }

  #push(happening: Happening): void {
    const heap = this.#heap;
    let at = heap.push(happening) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(happening, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = happening;
  }

  #pop(): Happening {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order;
}
