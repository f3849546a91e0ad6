import type { SliceId } from "../../../core/ids.ts";

const REPORT_AGAIN_MS = 5000;
const REMEMBERED_MAX = 10_000;

/**
 * Slices that a reader waits for although the bucket of the mount's region lacks them. Reports those of one turn of the
 * event loop together, and each slice at most every REPORT_AGAIN_MS.
 */
export class MissingSlices {
  readonly #report: (slices: readonly SliceId[]) => void;
  readonly #reportedMs = new Map<SliceId, number>();
  #waiting: SliceId[] = [];

  constructor(report: (slices: readonly SliceId[]) => void) {
    this.#report = report;
  }

  add(slice: SliceId): void {
    const now = performance.now();
    if ((this.#reportedMs.get(slice) ?? Number.NEGATIVE_INFINITY) > now - REPORT_AGAIN_MS) return;
    this.#reportedMs.set(slice, now);
    if (this.#reportedMs.size > REMEMBERED_MAX) this.#reportedMs.clear();
    if (this.#waiting.push(slice) > 1) return;
    setImmediate(() => {
      this.#report(this.#waiting);
      this.#waiting = [];
    });
  }
}
