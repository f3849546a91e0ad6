/** Spare buffers kept; more are made while more requests hold one. */
const SPARE_MAX = 16;

/** Buffers that each hold the largest request. One belongs to its request until that has had its answer. */
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
