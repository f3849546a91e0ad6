import { Worker } from "node:worker_threads";
import type { Logger } from "pino";
import type { ByteString, Inode } from "../../core/ids.ts";
import type { KernelCaches } from "../volume/handlers.ts";
import {
  invalidateEntryMessage,
  invalidateInodeMessage,
  invalidatePagesMessage,
  pruneMessage,
} from "./notify-message.ts";
import type { Held } from "./operation.ts";

/** Messages that the thread gets at once; it reports their completion together. */
const BATCH_MAX = 64;
/** Nothing to invalidate: the kernel has not cached the inode or the name, or the mount is gone. */
const BENIGN = new Set(["", "ENOENT", "ENOTDIR", "ENODEV", "ENOTCONN", "ECONNABORTED"]);

interface Waiting {
  readonly message: Buffer;
  readonly done: Promise<void>;
  readonly resolve: () => void;
}

/** Resolves when all requests that hold these pages or names now are answered; undefined when there are none. */
type Released = (inode: Inode, held: Held) => Promise<void> | undefined;

/**
 * Invalidates the kernel's caches by FUSE_NOTIFY_INVAL_INODE and FUSE_NOTIFY_INVAL_ENTRY. A notification that is
 * already queued is not queued again.
 *
 * The kernel blocks the writer of a notification until requests that hold those pages, or the lock of that directory,
 * are answered; an expiry takes that lock, too. We wait for these requests before we write. So a slow request delays no other notification, and the
 * thread is hardly ever blocked in the kernel. A process that is killed while its thread is blocked there leaves a
 * mount that hangs until umount -f: the thread cannot exit, and keeps the device open.
 *
 * Hence a handler must not wait for an invalidation of the pages that its own READ or WRITE holds, or of the names that
 * its own LOOKUP or directory change holds. An OPEN may wait, and so may a READ or WRITE of direct I/O, which holds none.
 */
export class Notifier implements KernelCaches {
  /** Set once the protocol's version is negotiated. */
  canPrune = false;
  readonly #fd: number;
  readonly #released: Released;
  readonly #logger: Logger;
  /** Waiting for a request that holds what they invalidate. */
  readonly #held = new Map<string, Waiting>();
  readonly #queue = new Map<string, Waiting>();
  #worker: Worker | undefined;
  #batch: readonly Waiting[] = [];
  #scheduled = false;
  #stopped = false;
  #idle: (() => void) | undefined;

  /** `fd`: the descriptor of the mounted device; it must stay open until `stop` has resolved. */
  constructor(fd: number, released: Released, logger: Logger) {
    this.#fd = fd;
    this.#released = released;
    this.#logger = logger;
  }

  invalidateInode(inode: Inode, content: boolean): Promise<void> {
    const message = () => invalidateInodeMessage(inode, content);
    if (!content) return this.#enqueue(`attributes ${inode}`, message, undefined);
    const released = this.#released(inode, "pages");
    if (released !== undefined) this.invalidateInode(inode, false); // attributes need not wait
    return this.#enqueue(`content ${inode}`, message, released);
  }

  invalidatePages(inode: Inode, offset: number, length: number): Promise<void> {
    const message = () => invalidatePagesMessage(inode, offset, length);
    return this.#enqueue(`pages ${inode} ${offset} ${length}`, message, this.#released(inode, "pages"));
  }

  invalidateEntry(parent: Inode, name: ByteString): Promise<void> {
    const message = () => invalidateEntryMessage(parent, name, "drop");
    return this.#enqueue(`entry ${parent} ${name}`, message, this.#released(parent, "names"));
  }

  expireEntry(parent: Inode, name: ByteString): Promise<void> {
    const message = () => invalidateEntryMessage(parent, name, "expire");
    return this.#enqueue(`expiry ${parent} ${name}`, message, this.#released(parent, "names"));
  }

  prune(inodes: readonly Inode[]): Promise<void> {
    if (inodes.length === 0) return Promise.resolve();
    return this.#enqueue(`prune ${inodes.join(" ")}`, () => pruneMessage(inodes), undefined);
  }

  /**
   * Ends the thread; notifications that are not written yet count as done. Waits for a write that is blocked in the
   * kernel, so every request must have been answered before (FuseConnection.drain).
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const waiting of [...this.#held.values(), ...this.#queue.values()]) waiting.resolve();
    this.#held.clear();
    this.#queue.clear();
    if (this.#batch.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await this.#worker?.terminate();
  }

  #enqueue(key: string, message: () => Buffer, released: Promise<void> | undefined): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    const known = this.#held.get(key) ?? this.#queue.get(key);
    if (known !== undefined) return known.done;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = { message: message(), done: promise, resolve };
    if (released === undefined) this.#push(key, waiting);
    else {
      this.#held.set(key, waiting);
      released.then(() => {
        if (this.#held.delete(key)) this.#push(key, waiting);
      });
    }
    return promise;
  }

  #push(key: string, waiting: Waiting): void {
    this.#queue.set(key, waiting);
    if (this.#scheduled || this.#batch.length > 0) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#writeNext());
  }

  #writeNext(): void {
    this.#scheduled = false;
    if (this.#queue.size === 0 || this.#stopped) return;
    const batch: Waiting[] = [];
    for (const [key, waiting] of this.#queue) {
      batch.push(waiting);
      this.#queue.delete(key);
      if (batch.length === BATCH_MAX) break;
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
      this.#logger.error({ err: error }, "the thread that invalidates the kernel's caches failed");
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
      if (!BENIGN.has(error)) this.#logger.warn({ error }, "the kernel refused an invalidation");
      waiting.resolve();
    }
    this.#idle?.();
    this.#writeNext();
  }
}
