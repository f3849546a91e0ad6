import type { Logger } from "pino";
import { backoffMs, pause } from "../base/waiting.ts";
import type { RegionIndex } from "../core/ids.ts";
import { type ObjectStore, ObjectStoreError } from "../object-store/object-store.ts";

/**
 * Which buckets answer: a circuit breaker for each. After several failures in a row a bucket counts as unreachable, and is
 * probed with back-off; slices that need it wait in the plan meanwhile, and occupy no worker.
 */
export class Reachability {
  readonly #stores: ReadonlyMap<RegionIndex, ObjectStore>;
  readonly #logger: Logger;
  readonly #onBack: (region: RegionIndex) => void;
  readonly #failures = new Map<RegionIndex, number>();
  readonly #unreachable = new Set<RegionIndex>();
  readonly #stop = new AbortController();

  constructor(options: {
    stores: ReadonlyMap<RegionIndex, ObjectStore>;
    logger: Logger;
    onBack: (region: RegionIndex) => void;
  }) {
    this.#stores = options.stores;
    this.#logger = options.logger;
    this.#onBack = options.onBack;
  }

  reachable(region: RegionIndex): boolean {
    return !this.#unreachable.has(region);
  }

  answered(region: RegionIndex): void {
    this.#failures.delete(region);
  }

  failed(region: RegionIndex, error: unknown): void {
    if (!isPathFailure(error) || this.#unreachable.has(region)) return;
    const failures = (this.#failures.get(region) ?? 0) + 1;
    this.#failures.set(region, failures);
    if (failures < FAILURES_UNTIL_UNREACHABLE) return;
    this.#unreachable.add(region);
    const url = this.#stores.get(region)?.url;
    this.#logger.warn({ bucket: url, reason: messageOf(error) }, "a bucket does not answer: slices that need it wait");
    void this.#watch(region);
  }

  close(): void {
    this.#stop.abort(new Error("closed"));
  }

  async #watch(region: RegionIndex): Promise<void> {
    const store = this.#stores.get(region)!;
    for (let attempt = 0; ; attempt++) {
      try {
        await pause(backoffMs(attempt, PROBE_FIRST_MS, PROBE_MAX_MS), this.#stop);
        await store.probe({ signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]) });
        break;
      } catch {
        if (this.#stop.signal.aborted) return;
      }
    }
    this.#unreachable.delete(region);
    this.#failures.delete(region);
    this.#logger.info({ bucket: store.url }, "the bucket answers again");
    this.#onBack(region);
  }
}

const FAILURES_UNTIL_UNREACHABLE = 6;
const PROBE_FIRST_MS = 500;
const PROBE_MAX_MS = 15_000;
const PROBE_TIMEOUT_MS = 10_000;

/** Whether the bucket or the path to it is at fault, not the object. */
export function isPathFailure(error: unknown): boolean {
  if (!(error instanceof ObjectStoreError)) return true;
  return error.retryable || error.code === "denied" || error.code === "noBucket" || error.code === "full";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
