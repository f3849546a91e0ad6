/** Free buffers that are kept; more exist while more requests hold one. */
const SPARE_MAX = 16;

/**
 * A pool of buffers, each as large as the largest request. A buffer belongs to one request until its handler has
 * finished.
 */
export class ReadBuffers {
  readonly bytes: number;
  readonly #spare: Buffer[] = [];

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.from(new ArrayBuffer(this.bytes));
  }

  give(buffer: Buffer): void {
    if (this.#spare.length < SPARE_MAX) this.#spare.push(buffer);
  }
}
