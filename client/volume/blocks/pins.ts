import { giveBuffer } from "./block-buffers.ts";

/** A block in memory. Its bytes may be given to another block once nothing has it pinned and the cache has let it go. */
export class MemoryBlock {
  readonly data: Uint8Array;
  #pins = 0;
  #evicted = false;

  constructor(data: Uint8Array) {
    this.data = data;
  }

  pin(): void {
    this.#pins += 1;
  }

  unpin(): void {
    this.#pins -= 1;
    this.#giveIfUnused();
  }

  evict(): void {
    this.#evicted = true;
    this.#giveIfUnused();
  }

  #giveIfUnused(): void {
    if (this.#evicted && this.#pins === 0) giveBuffer(this.data);
  }
}

let releasing: MemoryBlock[] = [];

/** The blocks that one read looks into: they stay as they are until its answer has been sent. */
export class Pins {
  #blocks: MemoryBlock[] = [];

  add(block: MemoryBlock): void {
    block.pin();
    this.#blocks.push(block);
  }

  /**
   * To be called when the answer is made. It is sent in this turn of the event loop, synchronously or at the promise's
   * resolution; the blocks are let go of in the next one.
   */
  releaseSoon(): void {
    if (this.#blocks.length === 0) return;
    if (releasing.length === 0) setImmediate(releaseAll);
    for (const block of this.#blocks) releasing.push(block);
    this.#blocks = [];
  }
}

function releaseAll(): void {
  const blocks = releasing;
  releasing = [];
  for (const block of blocks) block.unpin();
}
