import { Prng } from "./prng.ts";

/** Wall time at the beginning of every run: in the past, so that no real clock can be mistaken for it. */
const EPOCH_MS = Date.UTC(2020, 0, 1);

/** More than this without time passing is a loop. */
const SAME_TIME_STEPS_MAX = 20_000;

/** What is about to happen. Without a life it is the world's own (a message under way, a fault). */
export interface ScheduledEvent {
  atMs: number;
  readonly order: number;
  readonly process: Process | undefined;
  readonly run: () => void;
  cancelled: boolean;
}

/** Runs what waits in the queues of ticks and microtasks, from within a macrotask, until nothing is left (Node's own). */
const drain = (globalThis.process as unknown as { _tickCallback(): void })._tickCallback;

export class Violation extends Error {
  override readonly name = "Violation";
}

/** States what must hold in every run. */
export function invariant(holds: boolean, message: () => string): void {
  if (!holds) throw new Violation(message());
}

/**
 * Virtual time: nothing happens but what is scheduled here, in one order for one seed. A step is one turn of one host's
 * event loop (a timer, a message, a disk's answer), with all the promises that it settles.
 */
export class World {
  readonly prng: Prng;
  readonly hosts = new Map<string, Host>();
  nowMs = 0;
  steps = 0;
  /** Whose code runs. */
  current: Process | undefined;
  /** The first truth that was violated. */
  violation: Error | undefined;
  #order = 0;
  #stepsAtSameTime = 0;
  readonly #heap: ScheduledEvent[] = [];
  readonly #record: (line: string) => void;

  constructor(seed: number, record: (line: string) => void) {
    this.prng = new Prng(seed);
    this.#record = record;
  }

  /** A line of the transcript. */
  log(line: string): void {
    this.#record(`${this.nowMs.toFixed(2).padStart(10)}  ${line}`);
  }

  reportViolation(error: Error): void {
    this.violation ??= error;
  }

  at(atMs: number, process: Process | undefined, run: () => void): ScheduledEvent {
    const event = { atMs, order: this.#order++, process, run, cancelled: false };
    this.#push(event);
    return event;
  }

  after(ms: number, run: () => void): ScheduledEvent {
    return this.at(this.nowMs + ms, undefined, run);
  }

  /** A turn of a host's event loop, now: an operator's hand, a process that begins. */
  turn(process: Process, run: () => void): void {
    this.at(this.nowMs, process, run);
  }

  /** Runs until virtual time `untilMs` or `done`, calling `check` after every step. One macrotask, whatever happens. */
  run(untilMs: number, stepsMax: number, check: (process: Process | undefined) => void, done = () => false): void {
    while (this.#heap.length > 0 && this.#heap[0]!.atMs <= untilMs && this.steps < stepsMax) {
      const event = this.#pop();
      const { process } = event;
      if (event.cancelled || (process !== undefined && !process.alive)) continue;
      if (process !== undefined && process.host.pausedUntilMs > event.atMs) {
        event.atMs = process.host.pausedUntilMs;
        this.#push(event);
        continue;
      }
      this.#stepsAtSameTime = event.atMs === this.nowMs ? this.#stepsAtSameTime + 1 : 0;
      if (this.#stepsAtSameTime > SAME_TIME_STEPS_MAX) throw new Violation("a server spins without end");
      this.nowMs = event.atMs;
      this.steps++;
      this.#step(event);
      if (this.violation === undefined) check(process);
      if (this.violation !== undefined) throw this.violation;
      if (done()) return;
    }
    if (this.steps < stepsMax) this.nowMs = Math.max(this.nowMs, untilMs);
  }

  #step({ process, run }: ScheduledEvent): void {
    this.current = process;
    try {
      run();
      drain();
    } catch (error) {
      this.uncaught(error as Error, process);
      drain();
    }
    this.current = undefined;
  }

  /** Nobody caught it: a process ends by that, unless it is dead already. */
  uncaught(error: Error, process: Process | undefined): void {
    if (error instanceof Violation) this.reportViolation(error);
    else if (process === undefined) this.reportViolation(error);
    else if (process.alive) {
      this.reportViolation(new Violation(`${process.host.name} threw what nobody caught: ${error.stack}`));
    }
  }

  #push(event: ScheduledEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): ScheduledEvent {
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

function isBefore(a: ScheduledEvent, b: ScheduledEvent): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order;
}

/** One run of a process: what it has scheduled, and what is under way for it, ends with it. */
export class Process {
  readonly host: Host;
  alive = true;
  /** Its machine went with it: nobody is told. */
  powerLost = false;
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
  process: Process | undefined;
  /** Called by its own code between two steps of a turn: where a crash is hardest to survive. */
  onCrashPoint: (step: string) => void = () => {};
  pausedUntilMs = 0;
  /** What its processor takes to come to the next turn of the event loop. */
  turnMsMax = 0.05;
  /** Its wall clock is ahead by so much. */
  skewMs = 0;
  #rate = 1;
  #localMs = 0;
  #atMs = 0;
  #lastTurnMs = 0;

  constructor(world: World, name: string, region: string) {
    this.world = world;
    this.name = name;
    this.region = region;
    world.hosts.set(name, this);
  }

  begin(): Process {
    this.process = new Process(this);
    return this.process;
  }

  /** The process is gone, between two instructions: nothing that it scheduled or waits for ever comes. */
  end(silent = false): void {
    const { process } = this;
    if (process === undefined) return;
    process.powerLost = silent;
    process.alive = false;
    this.process = undefined;
    this.pausedUntilMs = 0;
    for (const end of process.onEnd) end();
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
  nextTurnMs(): number {
    const { world } = this;
    this.#lastTurnMs = Math.max(this.#lastTurnMs, world.nowMs + world.prng.between(0.001, this.turnMsMax));
    return this.#lastTurnMs;
  }
}
