import { setTimeout as delay } from "node:timers/promises";

/** Who may be interrupted: `signal` is made on first use, so it is touched only where there is something to wait for. */
export interface Interruptible {
  readonly signal: AbortSignal;
}

/** The attempt-th pause: grows from `firstMs` to `mostMs`, with half of it random so that clients do not come back together. */
export function backoffMs(attempt: number, firstMs: number, mostMs: number): number {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(attempt, 16));
  return full / 2 + (Math.random() * full) / 2;
}

/** Sleeps; answers false when it was interrupted. */
export async function pause(ms: number, interrupt?: Interruptible): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal: interrupt?.signal });
    return true;
  } catch {
    return false;
  }
}

/** Only what takes longer than this is worth an abort signal. */
const SLOW_MS = 200;

/** The promise's value, or "EINTR" once it is slow and the caller is interrupted. What runs on is left to itself. */
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

/** Runs `work` once at a time: who comes while it runs gets the same promise. */
export function singleFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
