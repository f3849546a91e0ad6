import type { Inode } from "../../core/ids.ts";

/** Threads that can be inside open(2) at once, for all that is worth remembering. */
const THREADS_MAX = 4096;

/**
 * Opens that were answered ESTALE. The kernel then walks the whole path again inside the same open(2), asking for each
 * name (fs/namei.c, LOOKUP_REVAL), and opens once more; a second ESTALE would reach the application. The names it has just
 * asked for led there during that very open(2), so the second open need not believe them: whoever replaces a file in a
 * loop, as a "latest" checkpoint is, must not fail those who read it.
 */
export class StaleOpens {
  /** By the thread in open(2): what its last lookup since the ESTALE led to. */
  readonly #threads = new Map<number, Inode | undefined>();

  answeredStale(thread: number): void {
    if (thread === 0) return;
    this.#threads.delete(thread);
    this.#threads.set(thread, undefined);
    if (this.#threads.size > THREADS_MAX) this.#threads.delete(this.#threads.keys().next().value!);
  }

  lookedUp(thread: number, inode: Inode): void {
    if (this.#threads.has(thread)) this.#threads.set(thread, inode);
  }

  /** Whether this open is the second one, of what the lookups led to. Either way it is no longer expected. */
  isSecond(thread: number, inode: Inode): boolean {
    const expected = this.#threads.get(thread);
    this.#threads.delete(thread);
    return expected === inode;
  }
}
