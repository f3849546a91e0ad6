import pRetry from "p-retry";
import { ObjectStoreError } from "./object-store.ts";
import type { Limits } from "./options.ts";

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

export interface Operation<T> {
  /** The bucket and the operation, for messages: "s3://name: create vol/blocks/…". */
  readonly what: string;
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
  /** Translates the vendor's error. */
  readonly toError: (error: unknown) => ObjectStoreError;
  /** Also retry `corrupt`: a body that is truncated or does not match its checksum may have been damaged in transit. */
  readonly again?: "corrupt";
  readonly attempt: (signal: AbortSignal) => Promise<T>;
}

/**
 * Runs an operation with a bounded number of attempts, exponential back-off with jitter, and one deadline over all of them.
 * @throws ObjectStoreError: that of the last attempt, `timeout` at the deadline, `aborted` when the caller aborted.
 */
export async function withRetries<T>(operation: Operation<T>): Promise<T> {
  const { limits, signal } = operation;
  if (signal?.aborted) throw aborted(operation, signal);
  const ended = new AbortController();
  const onAbort = () => ended.abort(signal?.reason);
  const timer = setTimeout(
    () => ended.abort(new Error(`no answer in ${limits.totalTimeoutMs} ms`)),
    limits.totalTimeoutMs,
  );
  signal?.addEventListener("abort", onAbort, { once: true });
  let last: ObjectStoreError | undefined;
  try {
    return await pRetry(
      async () => {
        try {
          return await unlessAborted(operation.attempt(ended.signal), ended.signal);
        } catch (error) {
          if (error instanceof TypeError || error instanceof RangeError) throw error; // a bug in our code
          last = error instanceof ObjectStoreError ? error : operation.toError(error);
          throw last;
        }
      },
      {
        retries: limits.attempts - 1,
        minTimeout: RETRY_MS_MIN,
        maxTimeout: RETRY_MS_MAX,
        randomize: true,
        signal: ended.signal,
        shouldRetry: () => last !== undefined && (last.retryable || last.code === operation.again),
      },
    );
  } catch (error) {
    if (signal?.aborted) throw aborted(operation, signal);
    if (ended.signal.aborted) {
      const why = last === undefined || last.code === "aborted" ? "" : `; last error: ${last.message}`;
      throw new ObjectStoreError("timeout", `${operation.what}: no answer in ${limits.totalTimeoutMs} ms${why}`, {
        cause: last ?? error,
      });
    }
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function aborted(operation: { what: string }, signal: AbortSignal): ObjectStoreError {
  return new ObjectStoreError("aborted", `${operation.what}: aborted by the caller`, { cause: signal.reason });
}

/** Rejects when the signal aborts, for work that takes no signal (fetching a token): its later outcome is ignored. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
