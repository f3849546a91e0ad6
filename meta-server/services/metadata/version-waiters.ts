import { compareVersions, type Version } from "../../../core/ids.ts";

interface Waiter {
  readonly version: Version;
  readonly deadlineMs: number;
  readonly done: (reached: boolean) => void;
}

const TICK_MS = 50;

/** Callers that wait until this server has applied a version. */
export class VersionWaiters {
  readonly #current: () => Version;
  #waiters: Waiter[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(current: () => Version) {
    this.#current = current;
    this.#timer = setInterval(() => this.check(), TICK_MS);
    this.#timer.unref();
  }

  /** Calls `done(true)` once the version is applied, synchronously if it already is, or `done(false)` after `waitMs`. */
  wait(version: Version, waitMs: number, done: (reached: boolean) => void): void {
    if (compareVersions(this.#current(), version) >= 0) {
      done(true);
      return;
    }
    this.#waiters.push({ version, deadlineMs: performance.now() + waitMs, done });
  }

  /** Must be called after each turn. */
  check(): void {
    if (this.#waiters.length === 0) return;
    const current = this.#current();
    const nowMs = performance.now();
    const waiting: Waiter[] = [];
    const ended: [Waiter, boolean][] = [];
    for (const waiter of this.#waiters) {
      if (compareVersions(current, waiter.version) >= 0) ended.push([waiter, true]);
      else if (waiter.deadlineMs <= nowMs) ended.push([waiter, false]);
      else waiting.push(waiter);
    }
    this.#waiters = waiting;
    for (const [waiter, reached] of ended) waiter.done(reached);
  }

  close(): void {
    clearInterval(this.#timer);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.done(false);
  }
}
