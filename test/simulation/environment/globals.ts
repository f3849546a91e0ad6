/** Replaces the global clock, timers and Math.random during a run: each call acts on the host whose code is running. */
import { performance } from "node:perf_hooks";
import type { Process, ScheduledEvent, World } from "./world.ts";

/** What setTimeout returns during a run. */
class SimulatedTimer {
  event: ScheduledEvent | undefined;
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
    if (this.event !== undefined) this.event.cancelled = true;
  }
}

let active: World | undefined;

/** The world of the current run. */
export function currentWorld(): World {
  if (active === undefined) throw new Error("no simulation is running");
  return active;
}

/** The process whose code is running. */
export function currentProcess(): Process {
  const { current } = currentWorld();
  if (current === undefined) throw new Error("no host's code is running");
  return current;
}

export function startTimer(ms: number, run: () => void): SimulatedTimer {
  const timer = new SimulatedTimer();
  const world = currentWorld();
  const process = currentProcess();
  if (process.alive) timer.event = world.at(world.nowMs + Math.max(ms || 0, 1) / process.host.rate, process, run);
  return timer;
}

function startInterval(ms: number, run: () => void): SimulatedTimer {
  const timer = new SimulatedTimer();
  const world = currentWorld();
  const process = currentProcess();
  const next = () => {
    if (timer.cancelled || !process.alive) return;
    timer.event = world.at(world.nowMs + Math.max(ms || 0, 1) / process.host.rate, process, () => {
      run();
      next();
    });
  };
  next();
  return timer;
}

export function nextTurn(run: () => void): SimulatedTimer {
  const timer = new SimulatedTimer();
  const process = currentProcess();
  if (process.alive) timer.event = currentWorld().at(process.host.nextTurnMs(), process, run);
  return timer;
}

function cancel(timer: unknown): void {
  if (timer instanceof SimulatedTimer) timer.cancel();
}

/** Installs the globals of a world. @returns a function that restores the real ones. */
export function enter(world: World): () => void {
  const realNow = Date.now;
  const realPerformanceNow = performance.now;
  const realRandom = Math.random;
  const { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate } = globalThis;
  const onRejection = (reason: unknown) => world.uncaught(asError(reason), world.current);
  active = world;
  const bound =
    (run: (...args: never[]) => void, args: unknown[]): (() => void) =>
    () =>
      run(...(args as never[]));
  Object.assign(globalThis, {
    setTimeout: (run: () => void, ms = 0, ...args: unknown[]) => startTimer(ms, bound(run, args)),
    setInterval: (run: () => void, ms = 0, ...args: unknown[]) => startInterval(ms, bound(run, args)),
    setImmediate: (run: () => void, ...args: unknown[]) => nextTurn(bound(run, args)),
    clearTimeout: cancel,
    clearInterval: cancel,
    clearImmediate: cancel,
  });
  Date.now = () => currentProcess().host.wallMs;
  performance.now = () => currentProcess().host.monotonicMs;
  Math.random = () => world.prng.next();
  globalThis.process.on("unhandledRejection", onRejection);
  return () => {
    active = undefined;
    Object.assign(globalThis, { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate });
    Date.now = realNow;
    performance.now = realPerformanceNow;
    Math.random = realRandom;
    globalThis.process.off("unhandledRejection", onRejection);
  };
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
