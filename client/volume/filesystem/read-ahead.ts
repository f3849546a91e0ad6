import { BLOCK_BYTES } from "../../../core/ids.ts";

/** The kernel reads ahead by itself and its requests overtake each other: so far apart is still "reading on". */
const SLACK_BYTES = 2 * 1024 * 1024;
const WINDOW_FIRST_BYTES = 2 * BLOCK_BYTES;

/** One descriptor's reading: how far to fetch ahead of it. Grows while it reads on, ends when it jumps. */
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

  /** Notes a read; answers the range to fetch now, if there is one. */
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
    // Fetching begins again when half of the window has been read, so that each time there is a run of blocks to ask for.
    const from = Math.max(end, this.#fetchedTo);
    if (from - end > this.#window / 2) return undefined;
    this.#window = Math.min(this.#bytesMax, Math.max(WINDOW_FIRST_BYTES, this.#window * 2));
    this.#fetchedTo = end + this.#window;
    return { from, to: this.#fetchedTo };
  }

  /** A chunk's map is asked for once ahead of time. */
  loadOnce(chunk: number, load: () => Promise<unknown>): void {
    if (this.#loading.has(chunk)) return;
    this.#loading.add(chunk);
    void load().finally(() => {
      // The range was not fetched: the next read tries again, with the map at hand.
      this.#fetchedTo = Math.min(this.#fetchedTo, this.#expected);
      this.#loading.delete(chunk);
    });
  }
}
