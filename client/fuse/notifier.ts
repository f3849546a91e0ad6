import { Worker } from "node:worker_threads";
import type { Logger } from "pino";
import type { ByteString, Inode } from "../../core/ids.ts";
import type { KernelCaches } from "../handlers.ts";
import { invalidateEntryMessage, invalidateInodeMessage } from "./notify-message.ts";

/** Messages handed to the thread at once; their completions come back together. */
const BATCH_MAX = 64;
/** Nothing to drop: the kernel does not know the inode or the name, or the mount is gone with all its caches. */
const BENIGN = new Set(["", "ENOENT", "ENOTDIR", "ENODEV", "ENOTCONN", "ECONNABORTED"]);

interface Waiting {
  readonly message: Buffer;
  readonly done: Promise<void>;
  readonly resolve: () => void;
}

/**
 * KernelCaches by FUSE_NOTIFY_INVAL_*. The same thing asked twice before it was written is written once. A completion
 * may have to wait for the answer of a request on that inode or directory, so no handler may wait for the completion
 * of a drop that concerns its own request.
 */
export class Notifier implements KernelCaches {
  readonly #fd: number;
  readonly #logger: Logger;
  readonly #queue = new Map<string, Waiting>();
  #worker: Worker | undefined;
  #batch: readonly Waiting[] = [];
  #scheduled = false;
  #stopped = false;
  #idle: (() => void) | undefined;

  /** `fd`: the mounted device's; it must stay open until `stop` has ended. */
  constructor(fd: number, logger: Logger) {
    this.#fd = fd;
    this.#logger = logger;
  }

  invalidateInode(inode: Inode, content: boolean): Promise<void> {
    return this.#enqueue(`${content ? "content" : "attributes"} ${inode}`, () =>
      invalidateInodeMessage(inode, content),
    );
  }

  invalidateEntry(parent: Inode, name: ByteString): Promise<void> {
    return this.#enqueue(`entry ${parent} ${name}`, () => invalidateEntryMessage(parent, name));
  }

  /**
   * Ends the thread; what was not yet written counts as done. It waits for a write that waits in the kernel, so what
   * that waits for must have been answered before (Session.drain).
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const waiting of this.#queue.values()) waiting.resolve();
    this.#queue.clear();
    if (this.#batch.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await this.#worker?.terminate();
  }

  #enqueue(key: string, message: () => Buffer): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    const known = this.#queue.get(key);
    if (known !== undefined) return known.done;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#queue.set(key, { message: message(), done: promise, resolve });
    if (!this.#scheduled && this.#batch.length === 0) {
      this.#scheduled = true;
      queueMicrotask(() => this.#writeNext());
    }
    return promise;
  }

  #writeNext(): void {
    this.#scheduled = false;
    if (this.#queue.size === 0 || this.#stopped) return;
    const batch: Waiting[] = [];
    for (const [key, waiting] of this.#queue) {
      if (batch.push(waiting) > BATCH_MAX) break;
      this.#queue.delete(key);
    }
    this.#batch = batch;
    this.#worker ??= this.#start();
    this.#worker.postMessage(batch.map((waiting) => waiting.message));
  }

  #start(): Worker {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const worker = new Worker(new URL(`./notify-worker.${extension}`, import.meta.url), {
      workerData: { fd: this.#fd },
    });
    worker.unref();
    worker.on("message", (results: readonly string[]) => this.#written(results));
    worker.on("error", (error) => {
      this.#logger.error({ err: error }, "the thread that drops kernel caches failed");
      this.#worker = undefined;
      this.#written([]);
    });
    return worker;
  }

  #written(results: readonly string[]): void {
    const batch = this.#batch;
    this.#batch = [];
    for (const [index, waiting] of batch.entries()) {
      const error = results[index] ?? "";
      if (!BENIGN.has(error)) this.#logger.warn({ error }, "the kernel refused to drop a cache");
      waiting.resolve();
    }
    this.#idle?.();
    this.#writeNext();
  }
}
