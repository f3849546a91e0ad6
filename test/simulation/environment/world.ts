import type { Truth } from "../checks/truths.ts";
import { Prng } from "./prng.ts";

/** Wall time at the beginning of every run: in the past, so that it cannot be mistaken for real time. */
const EPOCH_MS = Date.UTC(2020, 0, 1);

/** More steps than this at one virtual time are a livelock. */
const SAME_TIME_STEPS_MAX = 20_000;

/** A scheduled callback. Without a process it belongs to the world itself (a message in flight, a fault). */
export interface ScheduledEvent {
  atMs: number;
  readonly order: number;
  readonly process: Process | undefined;
  readonly run: () => void;
  cancelled: boolean;
}

/** Node's internal function that runs all pending ticks and microtasks, called from within a macrotask. */
const drain = (globalThis.process as unknown as { _tickCallback(): void })._tickCallback;

/** One of the truths does not hold. Any other error is one of the simulator itself. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly truth: Truth;

  constructor(truth: Truth, message: string) {
    super(message);
    this.truth = truth;
  }
}

/** Throws a Violation unless `holds`. */
export function invariant(truth: Truth, holds: boolean, message: () => string): void {
  if (!holds) throw new Violation(truth, message());
}

/**
 * Virtual time and the event queue: the seed determines the order of everything that happens. A step is one turn of one
 * host's event loop (a timer, a message, a completed I/O operation), including all promises that it settles.
 */
export class World {
  readonly prng: Prng;
  readonly hosts = new Map<string, Host>();
  nowMs = 0;
  steps = 0;
  /** The process whose code is running. */
  current: Process | undefined;
  /** The first invariant that was violated. */
  violation: Error | undefined;
  #order = 0;
  #stepsAtSameTime = 0;
  readonly #heap: ScheduledEvent[] = [];
  readonly #record: (line: string) => void;

  constructor(seed: number, record: (line: string) => void) {
    this.prng = new Prng(seed);
    this.#record = record;
  }

  /** Adds a line to the transcript. */
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

  /** Schedules a turn of a process's event loop at the current time. */
  turn(process: Process, run: () => void): void {
    this.at(this.nowMs, process, run);
  }

  /** Runs until virtual time `untilMs` or `done`, calling `check` after every step. All within one macrotask. */
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
      if (this.#stepsAtSameTime > SAME_TIME_STEPS_MAX) throw new Error("livelock: time does not advance");
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

  /** An uncaught error of a server is a violation, unless its process has ended already; any other one is the simulator's. */
  uncaught(error: Error, process: Process | undefined): void {
    if (process?.alive === false && !(error instanceof Violation)) return;
    const isServers = process?.host.isServer === true && !(error instanceof Violation);
    const named = () => new Violation("servers run", `${process!.host.name}: uncaught error: ${error.stack}`);
    this.reportViolation(isServers ? named() : error);
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

/** One run of a process. What it has scheduled is cancelled when it ends. */
export class Process {
  readonly host: Host;
  alive = true;
  /** Its host lost power: no connection is reset, peers only notice the silence. */
  powerLost = false;
  /** Called when it ends, for any reason. */
  readonly onEnd: (() => void)[] = [];

  constructor(host: Host) {
    this.host = host;
  }
}

/** A machine that runs one process: a metadata server, a client, an agent or the operator. */
export class Host {
  readonly name: string;
  readonly region: string;
  readonly world: World;
  process: Process | undefined;
  /** Whether it runs a metadata server. */
  isServer = false;
  /** Called between two steps of a turn, where a crash is hardest to survive. */
  onCrashPoint: (step: string) => void = () => {};
  pausedUntilMs = 0;
  /** The longest delay until the next turn of the event loop. */
  turnMsMax = 0.05;
  /** How far its wall clock is ahead. */
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

  /** Ends the process between two instructions: its timers and callbacks never run. */
  end(powerLost = false): void {
    const { process } = this;
    if (process === undefined) return;
    process.powerLost = powerLost;
    process.alive = false;
    this.process = undefined;
    this.pausedUntilMs = 0;
    for (const end of process.onEnd) end();
  }

  /** The speed of its clock, relative to virtual time. */
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

  /** The time of its next turn; successive calls return increasing times. */
  nextTurnMs(): number {
    const { world } = this;
    this.#lastTurnMs = Math.max(this.#lastTurnMs, world.nowMs + world.prng.between(0.001, this.turnMsMax));
    return this.#lastTurnMs;
  }
}
