import { Configurations } from "../../consensus/configurations.ts";
import type { LogStore, StoredLog, StoredPosition, TermStart } from "../../consensus/log-store.ts";
import type { Configuration } from "../../consensus/raft/configuration.ts";
import { decodeEntry, type Entry } from "../../consensus/raft/entry.ts";
import type { HardState, LogPosition } from "../../consensus/raft/messages.ts";
import { StorageError } from "../../consensus/storage-error.ts";
import { type Level, openLevel } from "./level.ts";

/**
 * Keys: an entry's index in 8 bytes, big-endian (its first byte is 0, indexes being below 2^53); 0xfe and 8 bytes of a
 * term for that term's first index; 0xff and a name for the rest.
 */
const TERM_PREFIX = 0xfe;
const KEYS_AFTER_TERMS = Buffer.from([TERM_PREFIX + 1]);
const HARD_STATE = Buffer.from("\xffhardState", "latin1");
const BASE = Buffer.from("\xffbase", "latin1");
const CONFIGURATIONS = Buffer.from("\xffconfigurations", "latin1");
const RESTORING = Buffer.from("\xffrestoring", "latin1");

/** How many of the last entries are checked for gaps when the log is opened. */
const CHECKED_ENTRIES = 100_000;

const TUNING = { compression: false, cacheBytes: 8 << 20, writeBufferBytes: 16 << 20, maxFileBytes: 16 << 20 };

type Operation = { type: "put"; key: Uint8Array; value: Uint8Array } | { type: "del"; key: Uint8Array };

/**
 * A member's Raft log in a LevelDB of its own. Every append is one `sync: true` batch, durable once LevelDB has synced its
 * own log.
 */
export class LevelLog implements LogStore {
  readonly stored: StoredLog;
  readonly #directory: string;
  readonly #level: Level;
  #base: LogPosition;
  #lastIndex: number;
  #termStarts: TermStart[];
  readonly #configurations: Configurations;
  /** The last write that was begun and has not ended. */
  #lastWrite: Promise<void> | undefined;

  private constructor(directory: string, level: Level, stored: StoredLog) {
    this.stored = stored;
    this.#directory = directory;
    this.#level = level;
    this.#base = stored.base;
    this.#lastIndex = stored.lastIndex;
    this.#termStarts = [...stored.termStarts];
    this.#configurations = new Configurations(stored.configurations);
  }

  static async open(directory: string): Promise<LevelLog> {
    const level = await openLevel(directory, TUNING);
    try {
      return new LevelLog(directory, level, await readStored(level));
    } catch (error) {
      await level.close();
      throw new StorageError(`the log in ${directory} is damaged`, error);
    }
  }

  begin(configuration: Configuration): Promise<void> {
    this.#configurations.replace(configuration);
    return this.#write([this.#putConfigurations()]);
  }

  append(hardState: HardState, entries: readonly Entry[], done: (error?: Error) => void): void {
    const operations: Operation[] = [{ type: "put", key: HARD_STATE, value: encode(hardState) }];
    const first = entries[0];
    if (first !== undefined) {
      this.#removeFrom(first.index + entries.length, first.index, operations);
      for (const entry of entries) this.#put(entry, operations);
      if (this.#configurations.appended(entries)) operations.push(this.#putConfigurations());
    }
    this.#write(operations).then(() => done(), done);
  }

  async read(from: number, through: number, bytesMax: number): Promise<Entry[]> {
    const entries: Entry[] = [];
    if (from <= this.#base.index) return entries;
    let bytes = 0;
    try {
      for await (const [key, value] of this.#level.iterator({ gte: indexKey(from), lte: indexKey(through) })) {
        const index = keyIndex(key);
        if (index !== from + entries.length) break; // the log was cut or replaced during the read
        entries.push(decodeEntry(index, value));
        bytes += value.length;
        if (bytes >= bytesMax) break;
      }
    } catch (error) {
      throw this.#failed(error);
    }
    return entries;
  }

  async cut(through: LogPosition): Promise<void> {
    if (through.index <= this.#base.index) return;
    this.#base = through;
    const operations: Operation[] = [{ type: "put", key: BASE, value: encode(through) }];
    while (this.#termStarts.length > 0 && this.#endOfFirstTerm() <= through.index) {
      operations.push({ type: "del", key: termKey(this.#termStarts.shift()!.term) });
    }
    if (this.#configurations.cut(through.index)) operations.push(this.#putConfigurations());
    await this.#write(operations); // the base first, then the entries below it: opening the log clears what a crash left of them
    await this.#level.clear({ lte: indexKey(through.index) }).catch((error) => Promise.reject(this.#failed(error)));
  }

  markRestoring(at: StoredPosition | undefined): Promise<void> {
    const operation: Operation =
      at === undefined ? { type: "del", key: RESTORING } : { type: "put", key: RESTORING, value: encode(at) };
    return this.#write([operation]);
  }

  async reset({ configuration, ...at }: StoredPosition): Promise<void> {
    const operations: Operation[] = this.#termStarts.map(({ term }) => ({ type: "del", key: termKey(term) }));
    operations.push({ type: "put", key: BASE, value: encode(at) }, { type: "del", key: RESTORING });
    for await (const key of this.#level.keys({ gte: indexKey(at.index + 1), lt: Buffer.from([TERM_PREFIX]) })) {
      operations.push({ type: "del", key }); // in the same write: an entry past the base would otherwise reappear
    }
    if (configuration !== undefined) {
      this.#configurations.replace(configuration);
      operations.push(this.#putConfigurations());
    }
    await this.#write(operations);
    this.#base = at;
    this.#lastIndex = at.index;
    this.#termStarts = [];
    await this.#level.clear({ lte: indexKey(at.index) });
  }

  async close(): Promise<void> {
    await this.#lastWrite?.catch(() => undefined);
    await this.#level.close();
  }

  #put(entry: Entry, operations: Operation[]): void {
    if (entry.term !== (this.#termStarts.at(-1)?.term ?? 0)) {
      this.#termStarts.push({ term: entry.term, index: entry.index });
      operations.push({ type: "put", key: termKey(entry.term), value: indexKey(entry.index) });
    }
    operations.push({ type: "put", key: indexKey(entry.index), value: entry.encoded });
    this.#lastIndex = entry.index;
  }

  /** Drops the term starts from `firstReplaced` on, and deletes the entries from `firstGone` on, which are not overwritten. */
  #removeFrom(firstGone: number, firstReplaced: number, operations: Operation[]): void {
    for (let index = firstGone; index <= this.#lastIndex; index++)
      operations.push({ type: "del", key: indexKey(index) });
    for (let last = this.#termStarts.at(-1); last !== undefined && last.index >= firstReplaced; ) {
      operations.push({ type: "del", key: termKey(last.term) });
      this.#termStarts.pop();
      last = this.#termStarts.at(-1);
    }
  }

  #endOfFirstTerm(): number {
    return (this.#termStarts[1]?.index ?? this.#lastIndex + 1) - 1;
  }

  #putConfigurations(): Operation {
    return { type: "put", key: CONFIGURATIONS, value: encode(this.#configurations.list) };
  }

  /**
   * One write at a time, in the order of the calls: LevelDB promises no order among batches that are in flight together,
   * and each batch goes by what the earlier ones have written. Nothing is written after a write that failed.
   */
  #write(operations: Operation[]): Promise<void> {
    const write = () => this.#level.batch(operations, { sync: true });
    const written = (this.#lastWrite === undefined ? write() : this.#lastWrite.then(write)).then(
      () => {
        if (this.#lastWrite === written) this.#lastWrite = undefined;
      },
      (error) => {
        throw this.#failed(error);
      },
    );
    this.#lastWrite = written;
    return written;
  }

  #failed(error: unknown): StorageError {
    if (error instanceof StorageError) return error;
    return new StorageError(`the log in ${this.#directory} is unusable`, error);
  }
}

async function readStored(level: Level): Promise<StoredLog> {
  const base = decode<LogPosition>(await level.get(BASE)) ?? { index: 0, term: 0 };
  await level.clear({ lte: indexKey(base.index) });
  const termStarts: TermStart[] = [];
  for await (const [key, value] of level.iterator({ gte: termKey(0), lt: KEYS_AFTER_TERMS })) {
    termStarts.push({ term: keyIndex(key.subarray(1)), index: Math.max(keyIndex(value), base.index + 1) });
  }
  return {
    hardState: decode<HardState>(await level.get(HARD_STATE)) ?? { term: 0, vote: 0, commit: 0 },
    base,
    lastIndex: await readLastIndex(level, base.index),
    termStarts,
    restoring: decode<StoredPosition>(await level.get(RESTORING)),
    configurations: decode<Configuration[]>(await level.get(CONFIGURATIONS)) ?? [],
  };
}

/** @throws Error if an entry is missing: LevelDB silently drops records of its log that fail their checksum. */
async function readLastIndex(level: Level, baseIndex: number): Promise<number> {
  let expected = -1;
  let lastIndex = baseIndex;
  const entries = { gt: indexKey(baseIndex), lt: Buffer.from([TERM_PREFIX]), reverse: true, limit: CHECKED_ENTRIES };
  for await (const key of level.keys(entries)) {
    const index = keyIndex(key);
    if (expected === -1) lastIndex = index;
    else if (index !== expected) throw new Error(`entry ${expected} is missing`);
    expected = index - 1;
  }
  if (lastIndex - baseIndex < CHECKED_ENTRIES && expected !== -1 && expected !== baseIndex)
    throw new Error(`entry ${expected} is missing`);
  return lastIndex;
}

function encode(value: HardState | LogPosition | readonly Configuration[]): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function decode<T>(value: Uint8Array | undefined): T | undefined {
  return value === undefined ? undefined : (JSON.parse(Buffer.from(value).toString()) as T);
}

function indexKey(index: number): Buffer {
  const key = Buffer.allocUnsafe(8);
  key.writeUInt16BE(0, 0);
  key.writeUIntBE(index, 2, 6);
  return key;
}

function keyIndex(key: Uint8Array): number {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(2, 6);
}

function termKey(term: number): Buffer {
  return Buffer.concat([Buffer.from([TERM_PREFIX]), indexKey(term)]);
}
