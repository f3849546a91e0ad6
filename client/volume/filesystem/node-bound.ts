import { pause } from "../../../base/waiting.ts";
import { ROOT_INODE } from "../../../core/ids.ts";
import type { Node, NodeTable } from "./nodes.ts";

/** How many inodes one request to the kernel names: as many as it takes at once (fuse_notify_prune, fs/fuse/dev.c). */
const BATCH = 512;
/** Until the FORGETs have arrived, which are requests like others. */
const FORGET_MS = 20;
/** When one round through all inodes was not enough, the rest is in use: the next round begins this much later. */
const NEXT_ROUND_MS = 5000;

/**
 * Keeps the number of nodes bounded. A node lives as long as the kernel has its inode cached, and a kernel with enough
 * memory of its own keeps what a `find` over millions of files has shown it. Above the bound it is asked to let go of
 * inodes that nothing uses, those first that have been known for longest.
 */
export class NodeBound {
  readonly #nodes: NodeTable;
  readonly #nodesMax: number;
  readonly #letGo: (nodes: readonly Node[]) => Promise<void>;
  #running = false;
  #nextRoundMs = 0;

  /** `letGo`: asks the kernel to let go of inodes, if nothing uses them there. */
  constructor(nodes: NodeTable, nodesMax: number, letGo: (nodes: readonly Node[]) => Promise<void>) {
    this.#nodes = nodes;
    this.#nodesMax = nodesMax;
    this.#letGo = letGo;
  }

  /** Call it when the kernel has got another inode. */
  check(): void {
    if (this.#nodes.size <= this.#nodesMax || this.#running || performance.now() < this.#nextRoundMs) return;
    this.#running = true;
    void this.#shrink().finally(() => {
      this.#running = false;
    });
  }

  /** One round at most. Directories can go once the kernel has let go of what is in them: in a later round. */
  async #shrink(): Promise<void> {
    const enough = this.#nodesMax - Math.min(BATCH, this.#nodesMax / 8);
    for (let seen = 0; this.#nodes.size > enough && seen < this.#nodes.size; seen += BATCH) {
      await this.#letGo(this.#nodes.rotate(BATCH).filter(isIdle));
      await pause(FORGET_MS);
    }
    if (this.#nodes.size > this.#nodesMax) this.#nextRoundMs = performance.now() + NEXT_ROUND_MS;
  }
}

function isIdle({ inode, handles, writer }: Node): boolean {
  return handles === 0 && writer?.dirty !== true && inode !== ROOT_INODE;
}
