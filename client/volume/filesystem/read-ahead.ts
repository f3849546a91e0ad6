import { BLOCK_BYTES } from "../../../core/ids.ts";

/** Reads this far from the expected offset count as sequential: the kernel's own readahead sends them out of order. */
const SLACK_BYTES = 2 * 1024 * 1024;
const WINDOW_FIRST_BYTES = 2 * BLOCK_BYTES;

/** How far to prefetch for one descriptor. The window doubles while reads are sequential; a seek closes it. */
export class ReadAhead {
  readonly #bytesMax: number;
  #expected = 0;
  #sequential = 0;
  #window = 0;
  #fetchedTo = 0;
  readonly #loading = new Set<number>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Notes a read. Answers the range to prefetch now, if any. */
  next(offset: number, length: number): { from: number; to: number } | undefined {
    const end = offset + length;
    if (Math.abs(offset - this.#expected) > SLACK_BYTES) {
      this.#sequential = 0;
      this.#window = 0;
      this.#fetchedTo = 0;
      this.#expected = end;
      return undefined;
    }
    this.#expected = Math.max(this.#expected, end);
    this.#sequential += 1;
    if (this.#sequential < 2 || this.#bytesMax === 0) return undefined;
    // Prefetches again only when half of the window has been read, so that there are several blocks to request each
    // time.
    const from = Math.max(end, this.#fetchedTo);
    if (from - end > this.#window / 2) return undefined;
    this.#window = Math.min(this.#bytesMax, Math.max(WINDOW_FIRST_BYTES, this.#window * 2));
    this.#fetchedTo = end + this.#window;
    return { from, to: this.#fetchedTo };
  }

  /** Loads a chunk's map ahead of time, once at a time. */
  loadOnce(chunk: number, load: () => Promise<unknown>): void {
    if (this.#loading.has(chunk)) return;
    this.#loading.add(chunk);
    void load().finally(() => {
      // The range was not prefetched: the next read tries again, with the map in the cache.
      this.#fetchedTo = Math.min(this.#fetchedTo, this.#expected);
      this.#loading.delete(chunk);
    });
  }
}
