/** Replaces classic-level by a database on the current host's simulated disk. Only the part of its API that we use. */

import { type Disk, failure, hostDisk } from "./disk.ts";
import { currentProcess } from "./globals.ts";
import type { Puts, StoredLevel, View } from "./stored-level.ts";

type Operation = { type: "put"; key: Uint8Array; value: Uint8Array } | { type: "del"; key: Uint8Array };
type Pair = [Uint8Array, Uint8Array];

interface RangeOptions {
  readonly gt?: Uint8Array;
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly snapshot?: Snapshot;
}

class Snapshot {
  readonly view: View;
  readonly #level: StoredLevel;

  constructor(level: StoredLevel) {
    this.#level = level;
    this.view = level.view();
  }

  async close(): Promise<void> {
    this.#level.release(this.view);
  }
}

export class ClassicLevel {
  readonly #path: string;
  readonly #disk: Disk;
  #stored: StoredLevel | undefined;
  /** After a failed write LevelDB fails every later one. */
  #failed: Error | undefined;
  #writtenMs = 0;

  constructor(path: string) {
    this.#path = path;
    this.#disk = hostDisk();
  }

  async open(): Promise<void> {
    await this.#disk.perform(() => {
      this.#checkRead();
      const stored = this.#disk.openLevel(this.#path);
      if (stored.isOpen)
        throw Object.assign(new Error("not open"), { cause: Object.assign(new Error(), { code: "LEVEL_LOCKED" }) });
      stored.isOpen = true;
      stored.sync(); // LevelDB writes what it recovers from its log to a table, and syncs it, before open() returns
      this.#stored = stored;
    });
  }

  async close(): Promise<void> {
    const stored = this.#open();
    while (stored.inFlight.length > 0) await this.#disk.perform(() => undefined);
    stored.isOpen = false;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#disk.perform(() => this.getSync(key));
  }

  getSync(key: Uint8Array): Uint8Array | undefined {
    this.#checkRead();
    return this.#open().map.get(latin1(key));
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return this.#disk.perform(() => keys.map((key) => this.getSync(key)));
  }

  async put(key: Uint8Array, value: Uint8Array, options?: { sync?: boolean }): Promise<void> {
    await this.#write(new Map([[latin1(key), copy(value)]]), options?.sync === true);
  }

  async del(key: Uint8Array, options?: { sync?: boolean }): Promise<void> {
    await this.#write(new Map([[latin1(key), undefined]]), options?.sync === true);
  }

  batch(): ChainedBatch;
  batch(operations: readonly Operation[], options?: { sync?: boolean }): Promise<void>;
  batch(operations?: readonly Operation[], options?: { sync?: boolean }): ChainedBatch | Promise<void> {
    if (operations === undefined) return new ChainedBatch((puts, sync) => this.#write(puts, sync));
    const puts = new Map<string, Uint8Array | undefined>();
    for (const one of operations) puts.set(latin1(one.key), one.type === "put" ? copy(one.value) : undefined);
    return this.#write(puts, options?.sync === true);
  }

  async clear(options: RangeOptions): Promise<void> {
    const stored = this.#open();
    await this.#write(new Map(keysIn(stored, stored, options).map((key) => [key, undefined])), false);
  }

  snapshot(): Snapshot {
    return new Snapshot(this.#open());
  }

  iterator(options: RangeOptions = {}): RangeIterator {
    return new RangeIterator(this.#disk, () => this.#pairs(options));
  }

  async *keys(options: RangeOptions = {}): AsyncGenerator<Uint8Array> {
    for await (const [key] of this.iterator(options)) yield key;
  }

  #pairs(options: RangeOptions): Pair[] {
    this.#checkRead();
    const stored = this.#open();
    const { map, keys } = options.snapshot?.view ?? stored;
    return keysIn(stored, { keys }, options).map((key): Pair => [bytes(key), map.get(key)!]);
  }

  #open(): StoredLevel {
    if (this.#stored === undefined) throw new Error("the database is not open");
    return this.#stored;
  }

  #checkRead(): void {
    if (this.#disk.fault === "read-error") throw failure("EIO", this.#path);
  }

  /** Writes reach the disk in the order they were issued. */
  #write(puts: Puts, sync: boolean): Promise<void> {
    const stored = this.#open();
    const process = currentProcess();
    this.#disk.crashPoint("before a write");
    if (!process.alive) return new Promise(() => {});
    const one = { puts, sync };
    stored.inFlight.push(one);
    this.#disk.crashPoint("during a write");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const after = Math.max(this.#disk.drawMs(), this.#writtenMs - performance.now());
    this.#writtenMs = performance.now() + after;
    this.#disk.schedule(() => {
      stored.inFlight.splice(stored.inFlight.indexOf(one), 1);
      if (this.#disk.fault === "full") this.#failed ??= failure("ENOSPC", this.#path);
      if (this.#failed !== undefined) return reject(this.#failed);
      stored.write(puts, sync);
      if (sync) this.#disk.onDurable(this.#path, puts);
      this.#disk.crashPoint("after a write");
      resolve();
    }, after);
    return promise;
  }
}

class ChainedBatch {
  readonly #puts = new Map<string, Uint8Array | undefined>();
  readonly #write: (puts: Puts, sync: boolean) => Promise<void>;

  constructor(write: (puts: Puts, sync: boolean) => Promise<void>) {
    this.#write = write;
  }

  put(key: Uint8Array, value: Uint8Array): this {
    this.#puts.set(latin1(key), copy(value));
    return this;
  }

  del(key: Uint8Array): this {
    this.#puts.set(latin1(key), undefined);
    return this;
  }

  get length(): number {
    return this.#puts.size;
  }

  write(options?: { sync?: boolean }): Promise<void> {
    return this.#write(this.#puts, options?.sync === true);
  }
}

class RangeIterator {
  readonly #disk: Disk;
  readonly #read: () => Pair[];
  #pairs: Pair[] | undefined;
  #at = 0;

  constructor(disk: Disk, read: () => Pair[]) {
    this.#disk = disk;
    this.#read = read;
  }

  async all(): Promise<Pair[]> {
    return this.#disk.perform(this.#read);
  }

  async nextv(count: number): Promise<Pair[]> {
    return this.#disk.perform(() => {
      this.#pairs ??= this.#read();
      this.#at += count;
      return this.#pairs.slice(this.#at - count, this.#at);
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Pair> {
    yield* await this.all();
  }

  async close(): Promise<void> {}
}

function keysIn(stored: StoredLevel, { keys }: { keys: readonly string[] }, options: RangeOptions): string[] {
  let from = 0;
  let to = keys.length;
  if (options.gte !== undefined) from = stored.indexOf(latin1(options.gte), keys);
  if (options.gt !== undefined) from = stored.indexOf(`${latin1(options.gt)}\0`, keys);
  if (options.lt !== undefined) to = stored.indexOf(latin1(options.lt), keys);
  if (options.lte !== undefined) to = stored.indexOf(`${latin1(options.lte)}\0`, keys);
  const limit = options.limit === undefined || options.limit < 0 ? Number.POSITIVE_INFINITY : options.limit;
  const found = keys.slice(from, Math.max(from, to));
  if (options.reverse === true) found.reverse();
  return found.length > limit ? found.slice(0, limit) : found;
}

function latin1(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

function bytes(key: string): Uint8Array {
  return Buffer.from(key, "latin1");
}

/** The caller may reuse its buffer: the disk shares no memory with it. */
function copy(value: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(value);
}
