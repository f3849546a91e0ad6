import { rm } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "../../consensus/storage-error.ts";
import { replaceFile, syncDirectory, syncFilesIn } from "./durable-files.ts";
import { type Level, openLevel } from "./level.ts";
import { Overlay } from "./overlay.ts";
import { fromLevelKey, toLevelKey } from "./state-keys.ts";
import { StateSnapshot } from "./state-snapshot.ts";

/** The file in the data directory that names the directory of the current state. */
export const STATE_POINTER = "STATE";
const TUNING = { compression: true, cacheBytes: 64 << 20, writeBufferBytes: 16 << 20, maxFileBytes: 8 << 20 };

export interface StateStoreOptions {
  /** How long turns are gathered before they are written as one synced batch. The default makes at most 20 syncs a second. */
  readonly gatherMs?: number;
  /** The disk failed at a write or a read: this store, and everything computed from it, is no longer valid. */
  readonly onFailed?: (error: StorageError) => void;
}

const GATHER_MS = 50;

/**
 * A member's copy of the volume: an ordered key-value store whose disk is always the state after some prefix of the
 * turns written to it.
 *
 * Turns are gathered in memory and go to LevelDB as one `sync: true` batch at a time. Batches that are not synced would
 * be cheaper, but after a power failure LevelDB may have lost an older one and kept a newer one (a log file is not synced when
 * the next one is started), and replaying the Raft log cannot repair a state with such a hole.
 *
 * Keys are latin1 strings: one character a byte.
 */
export class StateStore {
  readonly #dataDirectory: string;
  readonly #gatherMs: number;
  readonly #onFailed: (error: StorageError) => void;
  readonly #overlay = new Overlay();
  #generation: number;
  #level: Level;
  /** How many times the overlay was flushed to the disk. */
  #flushes = 0;
  #waitingDone: ((error?: Error) => void)[] = [];
  #flushing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failure: StorageError | undefined;

  private constructor(dataDirectory: string, generation: number, level: Level, options: StateStoreOptions) {
    this.#dataDirectory = dataDirectory;
    this.#generation = generation;
    this.#level = level;
    this.#gatherMs = options.gatherMs ?? GATHER_MS;
    this.#onFailed = options.onFailed ?? (() => undefined);
  }

  /** Called by openDataDirectory. @param generation the N of the `state-N` directory that the pointer names */
  static async open(dataDirectory: string, generation: number, options: StateStoreOptions = {}): Promise<StateStore> {
    const level = await openLevel(stateDirectory(dataDirectory, generation), TUNING);
    return new StateStore(dataDirectory, generation, level, options);
  }

  /** Synchronous point read; sees every write made so far, synced or not. The caller must not change the bytes. */
  get(key: string): Uint8Array | undefined {
    const written = this.#overlay.get(key);
    if (written !== null) return written;
    try {
      return this.#level.getSync(toLevelKey(key));
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Reads many keys off the main thread: the values at the moment of the answer. */
  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const level = this.#level;
    const flushes = this.#flushes;
    try {
      const stored = await level.getMany(keys.map(toLevelKey));
      // A write that was flushed meanwhile may be missing in both the answer and the overlay. That is rare: read the key again.
      const isLate = level !== this.#level || flushes !== this.#flushes;
      return keys.map((key, i) => {
        const written = this.#overlay.get(key);
        return written === null ? (isLate ? this.get(key) : stored[i]) : written;
      });
    } catch (error) {
      throw this.#failed(error, level);
    }
  }

  /** Up to `limit` pairs with `from` <= key < `to`, in the order of keys, at some moment between the call and its answer. */
  async range(from: string, to: string, limit: number): Promise<[string, Uint8Array][]> {
    const written = this.#overlay.isEmpty ? [] : this.#overlay.within(from, to);
    const level = this.#level;
    const snapshot = level.snapshot();
    try {
      const options = { gte: toLevelKey(from), lt: toLevelKey(to), limit: limit + written.length, snapshot };
      const stored: [Uint8Array, Uint8Array][] = await level.iterator(options).all();
      const merged = new Map(stored.map(([key, value]) => [fromLevelKey(key), value]));
      const last = stored.length < options.limit ? undefined : fromLevelKey(stored.at(-1)![0]);
      for (const [key, value] of written) {
        if (last !== undefined && key > last) break; // the disk may hold keys before it: they belong to the next page
        if (value === undefined) merged.delete(key);
        else merged.set(key, value);
      }
      return [...merged].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit);
    } catch (error) {
      throw this.#failed(error, level);
    } finally {
      await snapshot.close();
    }
  }

  /**
   * Writes one turn, which reads see at once. `done` is called when it and every turn before it are on disk, or with the error
   * that has made this store unusable.
   */
  write(
    writes: Iterable<readonly [string, Uint8Array | undefined]>,
    done: (error?: Error) => void = () => undefined,
  ): void {
    if (this.#failure !== undefined) {
      done(this.#failure);
      return;
    }
    this.#overlay.add(writes);
    this.#waitingDone.push(done);
    if (this.#flushing === undefined && this.#timer === undefined)
      this.#timer = setTimeout(() => void this.flush(), this.#gatherMs);
  }

  /** How many keys wait for the disk. A writer slows down by it. */
  get waitingCount(): number {
    return this.#overlay.waitingCount;
  }

  /** Resolves when everything written so far is on disk, or its `done` was called with the error. Never rejects. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#flushing !== undefined) await this.#flushing;
    if (this.#waitingDone.length === 0) return;
    const dones = this.#waitingDone;
    this.#waitingDone = [];
    this.#flushing = this.#writeWaiting();
    await this.#flushing;
    this.#flushing = undefined;
    if (this.#waitingDone.length > 0) this.#timer ??= setTimeout(() => void this.flush(), this.#gatherMs);
    for (const done of dones) done(this.#failure);
  }

  /** A consistent read of everything written so far. */
  async snapshot(): Promise<StateSnapshot> {
    await this.flush();
    const level = this.#level;
    return new StateSnapshot(level, (error) => this.#failed(error, level));
  }

  /**
   * Replaces everything by what `fill` writes. The new state is built beside the current one and takes its place by the
   * rename of one small file: a crash leaves the old state or the new one. If `fill` throws, the old state remains.
   */
  async replace(
    fill: (write: (pairs: readonly (readonly [string, Uint8Array])[]) => Promise<void>) => Promise<void>,
  ): Promise<void> {
    const generation = this.#generation + 1;
    const directory = stateDirectory(this.#dataDirectory, generation);
    await rm(directory, { recursive: true, force: true });
    try {
      await fillLevel(directory, fill);
      await this.flush();
      await replaceFile(this.#dataDirectory, STATE_POINTER, `${generation}\n`);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
    const old = this.#level;
    this.#level = await openLevel(directory, TUNING);
    this.#overlay.clear();
    const oldDirectory = stateDirectory(this.#dataDirectory, this.#generation);
    this.#generation = generation;
    await old.close();
    await rm(oldDirectory, { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.flush();
    await this.#level.close();
  }

  async #writeWaiting(): Promise<void> {
    const writes = this.#overlay.takeWaiting();
    try {
      const batch = this.#level.batch();
      for (const [key, value] of writes) {
        if (value === undefined) batch.del(toLevelKey(key));
        else batch.put(toLevelKey(key), value);
      }
      await batch.write({ sync: true });
      this.#overlay.synced();
      this.#flushes += 1;
    } catch (error) {
      this.#failure = this.#failed(error); // the overlay is kept, so that reads still see what was applied
    }
  }

  /** A replaced level is closed while reads of it may be under way: their errors are not failures of the disk. */
  #failed(error: unknown, level = this.#level): StorageError {
    if (error instanceof StorageError) return error;
    const directory = stateDirectory(this.#dataDirectory, this.#generation);
    const failure = new StorageError(`the state in ${directory} is unusable`, error);
    if (level === this.#level) this.#onFailed(failure);
    return failure;
  }
}

function stateDirectory(dataDirectory: string, generation: number): string {
  return join(dataDirectory, `state-${generation}`);
}

async function fillLevel(directory: string, fill: Parameters<StateStore["replace"]>[0]): Promise<void> {
  const level = await openLevel(directory, TUNING);
  try {
    await fill(async (pairs) => {
      await level.batch(pairs.map(([key, value]) => ({ type: "put", key: toLevelKey(key), value })));
    });
  } finally {
    await level.close();
  }
  await syncFilesIn(directory); // the pairs were written without syncs
  await syncDirectory(join(directory, ".."));
}
