import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 20;
const TIMEOUT_MS = 45_000;

/**
 * Polls `probe` until it returns something other than undefined or false, and returns that. An error that it throws or
 * rejects with counts as "not yet".
 * @throws Error after `timeoutMs`: it names `what` and has the probe's last error as its cause.
 */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  let lastError: unknown;
  do {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    await delay(POLL_MS);
  } while (performance.now() < deadlineMs);
  const reason = lastError === undefined ? "" : ` (last error: ${(lastError as Error).message})`;
  throw new Error(`waited ${timeoutMs / 1000} s for: ${what}${reason}`, { cause: lastError });
}
