import { pause, spreadMs } from "../../../base/waiting.ts";
import { type ObjectStore, ObjectStoreError } from "../../../object-store/object-store.ts";

const PROBE_PAUSE_MS = 1000;
const PROBE_MS = 3000;

/**
 * Whether a bucket answers. After a failure it is probed until it does, so that the time for which it has been out of
 * reach is known, and readers need not find it out once more for each block.
 */
export class BucketHealth {
  readonly #store: ObjectStore;
  #failingSinceMs: number | undefined;

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /** Whether its last answer was a failure. */
  get failing(): boolean {
    return this.#failingSinceMs !== undefined;
  }

  /** Whether it has been out of reach for `ms`, as long as a reader waits for a bucket: no reader waits for it any longer. */
  isDownFor(ms: number): boolean {
    return this.#failingSinceMs !== undefined && performance.now() - this.#failingSinceMs >= ms;
  }

  answered(): void {
    this.#failingSinceMs = undefined;
  }

  /** `key`: what could not be read. The probe asks for it, because other requests may be allowed while this one is not. */
  failed(key: string): void {
    if (this.failing) return;
    this.#failingSinceMs = performance.now();
    void this.#probe(key);
  }

  async #probe(key: string): Promise<void> {
    while (this.failing) {
      await pause(spreadMs(PROBE_PAUSE_MS));
      try {
        await this.#store.head(key, { signal: AbortSignal.timeout(PROBE_MS) });
        this.answered();
      } catch (error) {
        if (isAnswer(error)) this.answered();
      }
    }
  }
}

/** Whether an error of a read is an answer of the bucket about the object. */
export function isAnswer(error: unknown): error is ObjectStoreError & { code: "notFound" | "corrupt" } {
  return error instanceof ObjectStoreError && (error.code === "notFound" || error.code === "corrupt");
}
