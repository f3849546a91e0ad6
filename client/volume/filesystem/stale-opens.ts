import type { Inode } from "../../../core/ids.ts";

/** Threads that are remembered; more are hardly ever inside open(2) at once. */
const THREADS_MAX = 4096;
/** The second walk starts at once, and takes one round trip for each name of the path. */
const SECOND_WALK_MS = 10_000;

/**
 * Opens that were answered ESTALE. The kernel then walks the whole path again inside the same open(2), with a LOOKUP
 * for each name (LOOKUP_REVAL, do_filp_open in fs/namei.c), and opens once more. A second ESTALE would reach the
 * application. The names of the second walk led to the inode during that open(2), so the second open does not check
 * them again: a program that replaces a file in a loop, such as a "latest" checkpoint, must not make its readers fail.
 */
export class StaleOpens {
  /** By thread inside open(2): the inode that its last LOOKUP since the ESTALE led to. */
  readonly #threads = new Map<number, { readonly untilMs: number; inode: Inode | undefined }>();

  answeredStale(thread: number): void {
    if (thread === 0) return;
    this.#threads.delete(thread);
    this.#threads.set(thread, { untilMs: performance.now() + SECOND_WALK_MS, inode: undefined });
    if (this.#threads.size > THREADS_MAX) this.#threads.delete(this.#threads.keys().next().value!);
  }

  /** `inode` undefined: the name does not exist, so the open(2) has failed. */
  lookedUp(thread: number, inode: Inode | undefined): void {
    const walk = this.#threads.get(thread);
    if (walk === undefined) return;
    if (inode === undefined) this.#threads.delete(thread);
    else walk.inode = inode;
  }

  /** Whether this is the second open of that open(2), of the inode that its lookups led to. Forgets the thread. */
  isSecond(thread: number, inode: Inode): boolean {
    const walk = this.#threads.get(thread);
    this.#threads.delete(thread);
    return walk?.inode === inode && performance.now() < walk.untilMs;
  }
}
