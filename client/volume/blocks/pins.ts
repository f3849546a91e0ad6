import { giveBuffer } from "./block-buffers.ts";

/** A block in memory. Its buffer is reused once the block is evicted and no reader has it pinned. */
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

/** The blocks that one read uses: their buffers are not reused until its reply was sent. */
export class Pins {
  #blocks: MemoryBlock[] = [];

  add(block: MemoryBlock): void {
    block.pin();
    this.#blocks.push(block);
  }

  /**
   * Call it when the result is complete. The reply is sent in this turn of the event loop, synchronously or when the
   * promise resolves; the blocks are unpinned in the next turn.
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
