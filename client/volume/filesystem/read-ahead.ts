import { BLOCK_BYTES } from "../../../core/ids.ts";

/** Reads this far from the expected offset count as sequential: the kernel's own readahead sends them out of order. */
const SLACK_BYTES = 2 * 1024 * 1024;
const WINDOW_FIRST_BYTES = 2 * BLOCK_BYTES;

/** A descriptor that has not read for so long takes no share. */
const IDLE_MS = 10_000;

/**
 * What the descriptors of a mount may prefetch together. Prefetched blocks go into a cache of bounded size: if all
 * descriptors filled it at once, blocks would be evicted before they are read. Those that read sequentially have equal
 * shares; with more of them than there are blocks in the budget, none prefetches.
 */
export class ReadAheadBudget {
  readonly #bytesMax: number;
  readonly #eachBytesMax: number;
  /** When each of them last read (performance.now), the longest ago first. */
  readonly #readers = new Map<ReadAhead, number>();

  /** `bytesMax`: for all descriptors; `eachBytesMax`: for one of them. */
  constructor({ bytesMax, eachBytesMax }: { bytesMax: number; eachBytesMax: number }) {
    this.#bytesMax = bytesMax;
    this.#eachBytesMax = eachBytesMax;
  }

  /** The share of a descriptor that reads sequentially, bytes; 0: it must not prefetch. */
  shareOf(reader: ReadAhead): number {
    const nowMs = performance.now();
    this.#readers.delete(reader);
    this.#readers.set(reader, nowMs);
    for (const [longest, readMs] of this.#readers) {
      if (nowMs - readMs < IDLE_MS) break;
      this.#readers.delete(longest);
    }
    const share = this.#bytesMax / this.#readers.size;
    return share < BLOCK_BYTES ? 0 : Math.min(share, this.#eachBytesMax);
  }

  leave(reader: ReadAhead): void {
    this.#readers.delete(reader);
  }
}

/** How far to prefetch for one descriptor. The window doubles while reads are sequential; a seek closes it. */
export class ReadAhead {
  readonly #budget: ReadAheadBudget;
  #expected = 0;
  #sequential = 0;
  #window = 0;
  #fetchedTo = 0;
  readonly #loading = new Set<number>();

  constructor(budget: ReadAheadBudget) {
    this.#budget = budget;
  }

  /** The descriptor is closed. */
  close(): void {
    this.#budget.leave(this);
  }

  /** Notes a read. Answers the range to prefetch now, if any. */
  next(offset: number, length: number): { from: number; to: number } | undefined {
    const end = offset + length;
    if (Math.abs(offset - this.#expected) > SLACK_BYTES) {
      this.#budget.leave(this);
      this.#sequential = 0;
      this.#window = 0;
      this.#fetchedTo = 0;
      this.#expected = end;
      return undefined;
    }
    this.#expected = Math.max(this.#expected, end);
    this.#sequential += 1;
    if (this.#sequential < 2) return undefined;
    const shareBytes = this.#budget.shareOf(this);
    if (shareBytes === 0) return undefined;
    // Prefetches again only when half of the window has been read, so that there are several blocks to request each
    // time.
    const from = Math.max(end, this.#fetchedTo);
    if (from - end > Math.min(this.#window, shareBytes) / 2) return undefined;
    this.#window = Math.min(shareBytes, Math.max(WINDOW_FIRST_BYTES, this.#window * 2));
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
