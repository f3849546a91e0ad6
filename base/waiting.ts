import { setTimeout as delay } from "node:timers/promises";

/** A caller whose wait can be interrupted. `signal` may be created on first use: read it only when there is something to wait for. */
export interface Interruptible {
  readonly signal: AbortSignal;
}

/**
 * The pause before retry number `attempt` (from 0): doubles from `firstMs` up to `maxMs`. Half of it is random, so that
 * callers that failed together do not return together.
 */
export function backoffMs(attempt: number, firstMs: number, maxMs: number): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
  return full / 2 + (Math.random() * full) / 2;
}

/** An interval of about `ms`, up to a quarter longer or shorter, so that the periodic work of many processes spreads out. */
export function spreadMs(ms: number): number {
  return ms * (0.75 + Math.random() / 2);
}

/** @returns false when the pause was interrupted. */
export async function pause(ms: number, interrupt?: Interruptible): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal: interrupt?.signal });
    return true;
  } catch {
    return false;
  }
}

/** Work that is faster than this never reads the interrupt's signal. */
const SLOW_MS = 200;

/** The promise's value, or "EINTR" when it is slow and the caller is interrupted. The work itself is not aborted. */
export async function orInterrupted<T>(work: Promise<T>, interrupt: Interruptible | undefined): Promise<T | "EINTR"> {
  if (interrupt === undefined) return work;
  const slow = Promise.withResolvers<"slow">();
  const timer = setTimeout(() => slow.resolve("slow"), SLOW_MS);
  const first = await Promise.race([work, slow.promise]).finally(() => clearTimeout(timer));
  if (first !== "slow") return first;
  const { signal } = interrupt;
  if (signal.aborted) return "EINTR";
  const interrupted = Promise.withResolvers<"EINTR">();
  const stop = () => interrupted.resolve("EINTR");
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, interrupted.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Runs `work` one at a time: calls while it runs get the same promise. */
export function singleFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
