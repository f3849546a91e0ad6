import { Chance } from "./chance.ts";

/** Wall time at the beginning of every run: in the past, so that no real clock can be mistaken for it. */
const EPOCH_MS = Date.UTC(2020, 0, 1);

/** More than this without time passing is a loop. */
const MOMENT_STEPS_MAX = 20_000;

/** What is about to happen. Without a life it is the world's own (a message under way, a fault). */
export interface Happening {
  atMs: number;
  readonly order: number;
  readonly life: Life | undefined;
  readonly run: () => void;
  cancelled: boolean;
}

/** Runs what waits in the queues of ticks and microtasks, from within a macrotask, until nothing is left (Node's own). */
const drain = (process as unknown as { _tickCallback(): void })._tickCallback;

export class Violation extends Error {
  override readonly name = "Violation";
}

/** States what must hold in every run. */
export function hold(truth: boolean, otherwise: () => string): void {
  if (!truth) throw new Violation(otherwise());
}

/**
 * Virtual time: nothing happens but what is scheduled here, in one order for one seed. A step is one turn of one host's
 * event loop (a timer, a message, a disk's answer), with all the promises that it settles.
 */
export class World {
  readonly chance: Chance;
  readonly hosts = new Map<string, Host>();
  nowMs = 0;
  steps = 0;
  /** Whose code runs. */
  current: Life | undefined;
  /** The first truth that was violated. */
  violation: Error | undefined;
  #order = 0;
  #stepsOfMoment = 0;
  readonly #heap: Happening[] = [];
  readonly #record: (line: string) => void;

  constructor(seed: number, record: (line: string) => void) {
    this.chance = new Chance(seed);
    this.#record = record;
  }

  /** A line of the transcript. */
  tell(line: string): void {
    this.#record(`${this.nowMs.toFixed(2).padStart(10)}  ${line}`);
  }

  violated(error: Error): void {
    this.violation ??= error;
  }

  at(atMs: number, life: Life | undefined, run: () => void): Happening {
    const happening = { atMs, order: this.#order++, life, run, cancelled: false };
    this.#push(happening);
    return happening;
  }

  after(ms: number, run: () => void): Happening {
    return this.at(this.nowMs + ms, undefined, run);
  }

  /** A turn of a host's event loop, now: an operator's hand, a process that begins. */
  turn(life: Life, run: () => void): void {
    this.at(this.nowMs, life, run);
  }

  /** Runs until virtual time `untilMs` or `done`, calling `check` after every step. One macrotask, whatever happens. */
  run(untilMs: number, stepsMax: number, check: (life: Life | undefined) => void, done = () => false): void {
    while (this.#heap.length > 0 && this.#heap[0]!.atMs <= untilMs && this.steps < stepsMax) {
      const happening = this.#pop();
      const { life } = happening;
      if (happening.cancelled || (life !== undefined && !life.alive)) continue;
      if (life !== undefined && life.host.pausedUntilMs > happening.atMs) {
        happening.atMs = life.host.pausedUntilMs;
        this.#push(happening);
        continue;
      }
      this.#stepsOfMoment = happening.atMs === this.nowMs ? this.#stepsOfMoment + 1 : 0;
      if (this.#stepsOfMoment > MOMENT_STEPS_MAX) throw new Violation("a server spins without end");
      this.nowMs = happening.atMs;
      this.steps++;
      this.#step(happening);
      if (this.violation === undefined) check(life);
      if (this.violation !== undefined) throw this.violation;
      if (done()) return;
    }
    if (this.steps < stepsMax) this.nowMs = Math.max(this.nowMs, untilMs);
  }

  #step({ life, run }: Happening): void {
    this.current = life;
    try {
      run();
      drain();
    } catch (error) {
      this.thrown(error as Error, life);
      drain();
    }
    this.current = undefined;
  }

  /** Nobody caught it: a process ends by that, unless it is dead already. */
  thrown(error: Error, life: Life | undefined): void {
    if (error instanceof Violation) this.violated(error);
    else if (life === undefined) this.violated(error);
    else if (life.alive) {
      this.violated(new Violation(`${life.host.name} threw what nobody caught: ${error.stack}`));
    }
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

/** One run of a process: what it has scheduled, and what is under way for it, ends with it. */
export class Life {
  readonly host: Host;
  alive = true;
  /** Its machine went with it: nobody is told. */
  silentEnd = false;
  /** Called at its end, whatever ended it. */
  readonly onEnd: (() => void)[] = [];

  constructor(host: Host) {
    this.host = host;
  }
}

/** A machine with a process on it: a metadata server, or a client. */
export class Host {
  readonly name: string;
  readonly region: string;
  readonly world: World;
  life: Life | undefined;
  /** Called by its own code between two steps of a turn: where a crash is hardest to survive. */
  onStep: (step: string) => void = () => {};
  pausedUntilMs = 0;
  /** What its processor takes to come to the next turn of the event loop. */
  turnMsMax = 0.05;
  /** Its wall clock is ahead by so much. */
  skewMs = 0;
  #rate = 1;
  #localMs = 0;
  #atMs = 0;
  #lastSoonMs = 0;

  constructor(world: World, name: string, region: string) {
    this.world = world;
    this.name = name;
    this.region = region;
    world.hosts.set(name, this);
  }

  begin(): Life {
    this.life = new Life(this);
    return this.life;
  }

  /** The process is gone, between two instructions: nothing that it scheduled or waits for ever comes. */
  end(silent = false): void {
    const { life } = this;
    if (life === undefined) return;
    life.silentEnd = silent;
    life.alive = false;
    this.life = undefined;
    this.pausedUntilMs = 0;
    for (const end of life.onEnd) end();
  }

  // Its clock

  /** How fast its clock runs. */
  get rate(): number {
    return this.#rate;
  }

  set rate(rate: number) {
    this.#localMs = this.monotonicMs;
    this.#atMs = this.world.nowMs;
    this.#rate = rate;
  }

  get monotonicMs(): number {
    return this.#localMs + (this.world.nowMs - this.#atMs) * this.#rate;
  }

  get wallMs(): number {
    return Math.floor(EPOCH_MS + this.monotonicMs + this.skewMs);
  }

  /** When the next turn of its event loop comes: in order. */
  soonMs(): number {
    const { world } = this;
    this.#lastSoonMs = Math.max(this.#lastSoonMs, world.nowMs + world.chance.between(0.001, this.turnMsMax));
    return this.#lastSoonMs;
  }
}
