/** The clock, the timers and the dice of the process while a run lasts: each belongs to the host whose code asks. */
import { performance } from "node:perf_hooks";
import type { Happening, Life, World } from "./world.ts";

/** What setTimeout gives in a run. */
class SimulatedTimer {
  happening: Happening | undefined;
  cancelled = false;

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }

  cancel(): void {
    this.cancelled = true;
    if (this.happening !== undefined) this.happening.cancelled = true;
  }
}

let stage: World | undefined;

/** The run that is on: whoever replaces a package asks it. */
export function world(): World {
  if (stage === undefined) throw new Error("no simulation runs");
  return stage;
}

/** Whose code runs. */
export function currentLife(): Life {
  const { current } = world();
  if (current === undefined) throw new Error("no host's code runs");
  return current;
}

export function after(ms: number, run: () => void): SimulatedTimer {
  const timer = new SimulatedTimer();
  const on = world();
  const life = currentLife();
  if (life.alive) timer.happening = on.at(on.nowMs + Math.max(ms || 0, 1) / life.host.rate, life, run);
  return timer;
}

function every(ms: number, run: () => void): SimulatedTimer {
  const timer = new SimulatedTimer();
  const on = world();
  const life = currentLife();
  const again = () => {
    if (timer.cancelled || !life.alive) return;
    timer.happening = on.at(on.nowMs + Math.max(ms || 0, 1) / life.host.rate, life, () => {
      run();
      again();
    });
  };
  again();
  return timer;
}

export function soon(run: () => void): SimulatedTimer {
  const timer = new SimulatedTimer();
  const life = currentLife();
  if (life.alive) timer.happening = world().at(life.host.soonMs(), life, run);
  return timer;
}

function cancel(timer: unknown): void {
  if (timer instanceof SimulatedTimer) timer.cancel();
}

/** Puts a world in the place of the real one; the answer takes it away again. */
export function enter(on: World): () => void {
  const realNow = Date.now;
  const realPerformanceNow = performance.now;
  const realRandom = Math.random;
  const { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate } = globalThis;
  const rejected = (reason: unknown) => on.thrown(asError(reason), on.current);
  stage = on;
  const called =
    (run: (...args: never[]) => void, args: unknown[]): (() => void) =>
    () =>
      run(...(args as never[]));
  Object.assign(globalThis, {
    setTimeout: (run: () => void, ms = 0, ...args: unknown[]) => after(ms, called(run, args)),
    setInterval: (run: () => void, ms = 0, ...args: unknown[]) => every(ms, called(run, args)),
    setImmediate: (run: () => void, ...args: unknown[]) => soon(called(run, args)),
    clearTimeout: cancel,
    clearInterval: cancel,
    clearImmediate: cancel,
  });
  Date.now = () => currentLife().host.wallMs;
  performance.now = () => currentLife().host.monotonicMs;
  Math.random = () => on.chance.next();
  process.on("unhandledRejection", rejected);
  return () => {
    stage = undefined;
    Object.assign(globalThis, { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate });
    Date.now = realNow;
    performance.now = realPerformanceNow;
    Math.random = realRandom;
    process.off("unhandledRejection", rejected);
  };
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
