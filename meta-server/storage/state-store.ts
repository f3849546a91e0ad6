import { rm } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "../../consensus/storage-error.ts";
import { replaceFile, syncDirectory, syncFilesIn } from "./durable-files.ts";
import { type Level, openLevel } from "./level.ts";
import { Overlay } from "./overlay.ts";
import { fromLevelKey, toLevelKey } from "./state-keys.ts";
import { StateSnapshot } from "./state-snapshot.ts";

/** Names, inside the data directory, the directory that holds the state. */
export const STATE_POINTER = "STATE";
const TUNING = { compression: true, cacheBytes: 64 << 20, writeBufferBytes: 16 << 20, maxFileBytes: 8 << 20 };

export interface StateStoreOptions {
  /** Turns are gathered for this long, then written as one synced batch: 20 syncs a second beside the log's own. */
  readonly gatherMs?: number;
  /** The disk failed, at a write or a read: nothing that rests on this store is to be believed any more. */
  readonly onFailed?: (error: StorageError) => void;
}

const GATHER_MS = 50;

/**
 * A member's copy of the volume: an ordered key-value store whose disk is always the state after some prefix of the
 * turns written to it.
 *
 * Turns are gathered in memory and go to LevelDB as one `sync: true` batch at a time. Batches that are not synced would
 * be cheaper, but after a power failure LevelDB may have lost an older one and kept a newer (a log file is not synced when
 * the next is begun), and a state with a hole cannot be mended by replaying the Raft log.
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
  /** How often the overlay has lost what it held to the disk. */
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

  /** @param generation which `state-N` directory the pointer names. Use openDataDirectory. */
  static async open(dataDirectory: string, generation: number, options: StateStoreOptions = {}): Promise<StateStore> {
    const level = await openLevel(stateDirectory(dataDirectory, generation), TUNING);
    return new StateStore(dataDirectory, generation, level, options);
  }

  /** Synchronous point read; sees every write made so far, synced or not. The bytes are not to be changed. */
  get(key: string): Uint8Array | undefined {
    const written = this.#overlay.get(key);
    if (written !== null) return written;
    try {
      return this.#level.getSync(toLevelKey(key));
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** The same for many keys, off the main thread: as of the moment of the answer. */
  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const level = this.#level;
    const flushes = this.#flushes;
    try {
      const stored = await level.getMany(keys.map(toLevelKey));
      // What was written and flushed meanwhile may be missing in the answer and in the overlay: rare, so simply read again.
      const isLate = level !== this.#level || flushes !== this.#flushes;
      return keys.map((key, i) => {
        const written = this.#overlay.get(key);
        return written === null ? (isLate ? this.get(key) : stored[i]) : written;
      });
    } catch (error) {
      throw this.#failed(error, level);
    }
  }

  /** Up to `limit` pairs with `from` <= key < `to`, in order of keys, as of some moment between the call and its answer. */
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
        if (last !== undefined && key > last) break; // the disk may hold others between: they come with the next page
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
   * One turn: visible to reads at once. `done` is called when it and every turn before it is on disk, or with the error
   * after which this store is of no use.
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

  /** How many keys wait for the disk: the measure of a writer that must slow down. */
  get waitingCount(): number {
    return this.#overlay.waitingCount;
  }

  /** Resolves when everything written so far is on disk (or its `done` was told why not). */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#flushing !== undefined) await this.#flushing;
    if (this.#waitingDone.length === 0) return;
    const told = this.#waitingDone;
    this.#waitingDone = [];
    this.#flushing = this.#writeWaiting();
    await this.#flushing;
    this.#flushing = undefined;
    if (this.#waitingDone.length > 0) this.#timer ??= setTimeout(() => void this.flush(), this.#gatherMs);
    for (const done of told) done(this.#failure);
  }

  /** A consistent read of all that is written by now. */
  async snapshot(): Promise<StateSnapshot> {
    await this.flush();
    const level = this.#level;
    return new StateSnapshot(level, (error) => this.#failed(error, level));
  }

  /**
   * Replaces everything by what `fill` writes. Built beside the living state and put in its place by renaming one small
   * file: a crash leaves the old or the new. If `fill` throws, the old one lives on.
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
      this.#failure = this.#failed(error); // the overlay stays, so that reads go on showing what was applied
    }
  }

  /** A level that has been replaced is closed under those who still read it: no fault of the disk. */
  #failed(error: unknown, level = this.#level): StorageError {
    if (error instanceof StorageError) return error;
    const directory = stateDirectory(this.#dataDirectory, this.#generation);
    const failure = new StorageError(`the state in ${directory} cannot be used any more`, error);
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
