import type { Logger } from "pino";
import { pause } from "../../../base/waiting.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import type { Inode, Time } from "../../../core/ids.ts";
import type { ClientSession } from "../metadata/client-session.ts";
import { FileWriter, type WriterEnvironment } from "./file-writer.ts";
import type { KernelView } from "./kernel-view.ts";
import type { Node, NodeTable } from "./nodes.ts";
import { isSameTime } from "./uncommitted.ts";
import { WriteBudget } from "./write-budget.ts";

/** What writers need for their uploads. */
export type UploadSettings = Omit<
  WriterEnvironment,
  "mutate" | "now" | "onCommitted" | "onFailed" | "onIdle" | "onMemory"
>;

export interface WritersOptions {
  readonly nodes: NodeTable;
  readonly kernel: KernelView;
  readonly session: ClientSession;
  readonly uploads: UploadSettings;
  readonly dirtyBytesMax: number;
  /** How long the primary has been out of reach; 0 while it is in reach. */
  readonly primaryDownForMs: () => number;
  readonly logger: Logger;
}

const IDLE_TICK_MS = 1000;
/** Dirty bytes older than this are committed without an fsync. */
const DIRTY_AGE_MS = 5000;
/**
 * How long a mount that ends continues to commit, while the primary is in reach and while it is not. A service manager, or
 * bin/serve.ts, gives a process little more time than this to end.
 */
const LAST_COMMITS_MS_MAX = { primaryUp: 12_000, primaryDown: 3000 };
const LAST_COMMITS_POLL_MS = 100;

/** The inodes with uncommitted data. Commits them in the background: by age, and when memory is short. */
export class Writers {
  /** The memory of what is dirty, over all files. */
  readonly budget: WriteBudget;
  readonly #nodes: NodeTable;
  readonly #kernel: KernelView;
  readonly #logger: Logger;
  readonly #environment: WriterEnvironment;
  readonly #writers = new Set<FileWriter>();
  readonly #ticker: NodeJS.Timeout;
  readonly #primaryDownForMs: () => number;
  /** When the mount was first asked to end (performance.now). */
  #endingSinceMs: number | undefined;
  readonly #reportedLost = new Set<FileWriter>();

  constructor(options: WritersOptions) {
    this.#nodes = options.nodes;
    this.#kernel = options.kernel;
    this.#logger = options.logger;
    this.#primaryDownForMs = options.primaryDownForMs;
    this.budget = new WriteBudget(options.dirtyBytesMax, () => this.#relieve());
    this.#environment = {
      ...options.uploads,
      mutate: (source) => options.session.mutate(source),
      now,
      onCommitted: (_, done) => this.#kernel.noteOwnChange(done),
      onIdle: (inode) => this.#retire(inode),
      onFailed: (inode, error) => this.#onWriteFailed(inode, error),
      onMemory: (bytes) => (bytes > 0 ? this.budget.take(bytes) : this.budget.give(-bytes)),
    };
    this.#ticker = setInterval(() => this.#commitOld(), IDLE_TICK_MS);
  }

  /** Ends the background work; what is dirty is committed first, as far as `commitOrGiveUp` gets. */
  async close(): Promise<void> {
    clearInterval(this.#ticker);
    await this.commitOrGiveUp();
  }

  /**
   * For a mount that ends: commits what is dirty in bounded time, and logs by path what is lost. The time counts from the
   * first call, however often it is called.
   */
  async commitOrGiveUp(): Promise<void> {
    this.#endingSinceMs ??= performance.now();
    const committed = this.#commitAll().then(() => true);
    while (!(await Promise.race([committed, pause(LAST_COMMITS_POLL_MS).then(() => false)]))) {
      const { primaryUp, primaryDown } = LAST_COMMITS_MS_MAX;
      const forMs = performance.now() - this.#endingSinceMs;
      const isDown = this.#primaryDownForMs() > primaryDown;
      if (forMs > primaryUp || (isDown && forMs > primaryDown)) return this.#reportLost();
    }
  }

  /** The writer of a file that becomes dirty. */
  of(node: Node): FileWriter {
    node.writer ??= new FileWriter(node.inode, this.#environment);
    this.#writers.add(node.writer);
    return node.writer;
  }

  async #commitAll(): Promise<void> {
    await Promise.all([...this.#writers].map((writer) => writer.commit()));
  }

  #reportLost(): void {
    for (const writer of this.#writers) {
      if (!writer.dirty || this.#reportedLost.has(writer)) continue;
      this.#reportedLost.add(writer);
      const { inode, dirtyBytes } = writer;
      this.#logger.error(
        { path: this.#nodes.pathOf(inode), inode, bytes: dirtyBytes },
        "lost: what was written here could not be committed before the mount ended",
      );
    }
  }

  #onWriteFailed(inode: Inode, error: ErrnoCode): void {
    this.#logger.error(
      { path: this.#nodes.pathOf(inode), inode, error },
      "what was written could not be stored: the next fsync or close of the file says so",
    );
    const node = this.#nodes.get(inode);
    if (node === undefined) return;
    // The kernel's pages hold bytes that the volume does not.
    node.stale = true;
    node.chunks.clear();
    void this.#kernel.invalidatePages(node);
  }

  #retire(inode: Inode): void {
    const node = this.#nodes.get(inode);
    if (node?.writer === undefined || node.writer.dirty) return;
    this.#writers.delete(node.writer);
    this.#checkShown(node, node.writer);
    this.#nodes.trim(node);
  }

  /** The kernel may have cached attributes from before the commit: what they say of it was a guess in part. */
  #checkShown(node: Node, writer: FileWriter): void {
    const shown = writer.takeShown();
    const { attributes } = node;
    if (shown === undefined || attributes === undefined) return;
    const isRight = shown.usedBytes === attributes.usedBytes && isSameTime(shown.ctime, attributes.ctime);
    if (!isRight) void this.#kernel.invalidateAttributes(node);
  }

  /** Frees memory. Skips a file that is being committed: more commits would cut it into small objects. */
  #relieve(): void {
    for (const writer of this.#writers) if (!writer.committing) void writer.commit();
  }

  #commitOld(): void {
    const old = performance.now() - DIRTY_AGE_MS;
    for (const writer of this.#writers) if (writer.dirtySinceMs < old) void writer.commit();
  }
}

/** The wall clock, to the microsecond. */
export function now(): Time {
  const ms = performance.timeOrigin + performance.now();
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanoseconds: Math.floor((ms - seconds * 1000) * 1000) * 1000 };
}
