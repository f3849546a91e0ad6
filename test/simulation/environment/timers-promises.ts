/** Replaces node:timers/promises by virtual time. */
import { startTimer } from "./globals.ts";

function pause<T>(ms: number, value?: T, options?: { signal?: AbortSignal | undefined }): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = startTimer(ms, () => resolve(value));
    options?.signal?.addEventListener("abort", () => {
      timer.cancel();
      reject(options.signal?.reason);
    });
  });
}

export { pause as setTimeout };
