import { pause } from "../base/waiting.ts";

/** Bounds on copying: blocks in flight, bytes of them in memory, and bytes a second. */
export interface Budget {
  /**
   * Waits until there is room, then runs. Urgent calls go first, otherwise in the order of the calls.
   * @throws the signal's reason when it is aborted while waiting.
   */
  use<T>(need: { bytes: number; urgent: boolean; signal: AbortSignal }, run: () => Promise<T>): Promise<T>;
}

export interface BudgetLimits {
  readonly blocks: number;
  readonly bytes: number;
  /** Unlimited when undefined. */
  readonly bytesPerSecond?: number;
}

interface Waiter {
  readonly bytes: number;
  readonly enter: () => void;
}

export function createBudget(limits: BudgetLimits): Budget {
  const bucket = limits.bytesPerSecond === undefined ? undefined : createTokenBucket(limits.bytesPerSecond);
  let blocks = 0;
  let bytes = 0;
  const urgent = new Set<Waiter>();
  const ordinary = new Set<Waiter>();

  // A block that is larger than the whole budget runs alone.
  const fits = (need: number) => blocks < limits.blocks && (blocks === 0 || bytes + need <= limits.bytes);
  const admit = () => {
    for (const queue of [urgent, ordinary])
      for (const waiter of queue) {
        if (!fits(waiter.bytes)) return;
        queue.delete(waiter);
        enter(waiter);
      }
  };
  const enter = (waiter: Waiter) => {
    blocks++;
    bytes += waiter.bytes;
    waiter.enter();
  };

  const wait = (need: { bytes: number; urgent: boolean; signal: AbortSignal }) =>
    new Promise<void>((resolve, reject) => {
      need.signal.throwIfAborted();
      const queue = need.urgent ? urgent : ordinary;
      const leave = () => {
        queue.delete(waiter);
        reject(need.signal.reason);
      };
      const waiter = {
        bytes: need.bytes,
        enter: () => {
          need.signal.removeEventListener("abort", leave);
          resolve();
        },
      };
      need.signal.addEventListener("abort", leave, { once: true });
      queue.add(waiter);
      admit();
    });

  return {
    async use(need, run) {
      await wait(need);
      try {
        if (bucket !== undefined) await bucket(need.bytes, need.signal);
        return await run();
      } finally {
        blocks--;
        bytes -= need.bytes;
        admit();
      }
    },
  };
}

/** A token bucket of one second's tokens. It may go into debt: a caller that takes more than it holds waits until that is repaid. */
export function createTokenBucket(perSecond: number): (tokens: number, signal?: AbortSignal) => Promise<void> {
  let tokens = perSecond;
  let atMs = performance.now();
  return async (taken, signal) => {
    const nowMs = performance.now();
    tokens = Math.min(perSecond, tokens + ((nowMs - atMs) / 1000) * perSecond) - taken;
    atMs = nowMs;
    if (tokens >= 0) return;
    await pause((-tokens / perSecond) * 1000, signal && { signal });
    signal?.throwIfAborted();
  };
}
