import type { Logger } from "pino";
import { backoffMs, pause } from "../base/waiting.ts";
import type { SliceId } from "../core/ids.ts";
import type { FailedSlice } from "../proto/generated/agent.ts";
import { messageOf } from "./reachability.ts";

export interface ReporterOptions {
  /** Sends one report to the region's leader. @throws unless it is acknowledged. */
  readonly send: (resident: readonly SliceId[], failed: readonly FailedSlice[]) => Promise<void>;
  /** The leader has acknowledged these as resident. */
  readonly acknowledged: (resident: readonly SliceId[]) => void;
  readonly logger: Logger;
  readonly batchMs?: number;
  readonly batchSlices?: number;
}

/**
 * Reports resident and failed slices to the metadata, in batches, and retries until they are acknowledged. Reports that a crash
 * loses do no harm: those slices are still pending in the metadata, and the next agent finds their blocks in the bucket.
 */
export class Reporter {
  readonly #options: ReporterOptions;
  readonly #batchMs: number;
  readonly #batchSlices: number;
  #resident = new Set<SliceId>();
  /** The last report about a slice replaces earlier ones. */
  #failed = new Map<SliceId, FailedSlice>();
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  readonly #stop = new AbortController();

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#batchMs = options.batchMs ?? 50;
    this.#batchSlices = options.batchSlices ?? 256;
  }

  get unacknowledged(): number {
    return this.#resident.size + this.#failed.size;
  }

  resident(id: SliceId): void {
    this.#failed.delete(id);
    this.#resident.add(id);
    this.#schedule();
  }

  failed(slice: FailedSlice): void {
    this.#failed.set(slice.id as SliceId, slice);
    this.#schedule();
  }

  /** Sends what is not yet acknowledged, for at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    setTimeout(() => this.#stop.abort(new Error("closed")), graceMs).unref();
    while (this.unacknowledged > 0 && !this.#stop.signal.aborted) await this.#flush();
    this.#stop.abort(new Error("closed"));
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#sending !== undefined || this.#stop.signal.aborted) return;
    if (this.#resident.size + this.#failed.size >= this.#batchSlices) void this.#flush();
    else this.#timer ??= setTimeout(() => void this.#flush(), this.#batchMs);
  }

  #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= Promise.resolve()
      .then(() => this.#send())
      .finally(() => {
        this.#sending = undefined;
        if (this.unacknowledged > 0) this.#schedule();
      });
    return this.#sending;
  }

  async #send(): Promise<void> {
    const resident = [...this.#resident].slice(0, this.#batchSlices);
    const failed = [...this.#failed.values()].slice(0, this.#batchSlices);
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#options.send(resident, failed);
        break;
      } catch (error) {
        if (attempt === 2)
          this.#options.logger.warn(
            { reason: messageOf(error) },
            "the metadata does not acknowledge a report: it is retried",
          );
        if (!(await pause(backoffMs(attempt, 100, 5_000), this.#stop))) return;
      }
    }
    for (const id of resident) this.#resident.delete(id);
    for (const slice of failed)
      if (this.#failed.get(slice.id as SliceId) === slice) this.#failed.delete(slice.id as SliceId);
    this.#options.acknowledged(resident);
  }
}
