import type { Inode } from "../../../core/ids.ts";

/** Threads that can be inside open(2) at once, for all that is worth remembering. */
const THREADS_MAX = 4096;
/** The second walk begins at once, and takes as many round trips as the path has names. */
const SECOND_WALK_MS = 10_000;

/**
 * Opens that were answered ESTALE. The kernel then walks the whole path again inside the same open(2), asking for each
 * name (fs/namei.c, LOOKUP_REVAL), and opens once more; a second ESTALE would reach the application. The names it has just
 * asked for led there during that very open(2), so the second open need not believe them: whoever replaces a file in a
 * loop, as a "latest" checkpoint is, must not fail those who read it.
 */
export class StaleOpens {
  /** By the thread in open(2): what its last lookup since the ESTALE led to. */
  readonly #threads = new Map<number, { readonly untilMs: number; inode: Inode | undefined }>();

  answeredStale(thread: number): void {
    if (thread === 0) return;
    this.#threads.delete(thread);
    this.#threads.set(thread, { untilMs: performance.now() + SECOND_WALK_MS, inode: undefined });
    if (this.#threads.size > THREADS_MAX) this.#threads.delete(this.#threads.keys().next().value!);
  }

  /** `inode` undefined: the name led nowhere, and with that the open(2) has ended. */
  lookedUp(thread: number, inode: Inode | undefined): void {
    const walk = this.#threads.get(thread);
    if (walk === undefined) return;
    if (inode === undefined) this.#threads.delete(thread);
    else walk.inode = inode;
  }

  /** Whether this open is the second one, of what the lookups led to. Either way it is no longer expected. */
  isSecond(thread: number, inode: Inode): boolean {
    const walk = this.#threads.get(thread);
    this.#threads.delete(thread);
    return walk?.inode === inode && performance.now() < walk.untilMs;
  }
}
