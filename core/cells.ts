import type { RecordCodec } from "./codec/records.ts";
import type { ByteString } from "./ids.ts";
import { hashPair, type PairHash, type StateHash } from "./state-hash.ts";

/** Where the state is kept. Must show what earlier turns put at once, written to a disk or not. */
export interface KeyValueView {
  get(key: ByteString): Uint8Array | undefined;
}

/** A key as it is decoded, and the hash of its pair as the state hash counts it (`stored` false: there is no pair). */
interface Cell extends PairHash {
  readonly key: ByteString;
  readonly codec: { encode(value: never): Uint8Array };
  value: unknown;
  stored: boolean;
  dirty: boolean;
}

/**
 * Decoded values over a view: what this turn changed, and what was read or written lately. The latter is kept in two
 * generations, which is an LRU at the price of a Map look-up: what is used moves to the young one, and when that is full
 * it becomes the old one; what is not yet flushed always stays. Values are never changed in place.
 */
export class Cells {
  readonly #view: KeyValueView;
  readonly #generationLimit: number;
  #young = new Map<ByteString, Cell>();
  #old = new Map<ByteString, Cell>();
  #dirty: Cell[] = [];

  constructor(view: KeyValueView, entriesMax: number) {
    this.#view = view;
    this.#generationLimit = Math.max(1, entriesMax >>> 1);
  }

  get<T>(codec: RecordCodec<T>, key: ByteString): T | undefined {
    return this.#cell(codec, key).value as T | undefined;
  }

  put<T>(codec: RecordCodec<T>, key: ByteString, value: T | undefined): void {
    const cell = this.#cell(codec, key);
    cell.value = value;
    this.#soil(cell);
  }

  /** Puts where the caller knows that there never was anything: spares the look-ups. */
  insert<T>(codec: RecordCodec<T>, key: ByteString, value: T): void {
    const cell: Cell = { key, codec, value, stored: false, dirty: false, high: 0, low: 0 };
    this.#keep(cell);
    this.#soil(cell);
  }

  #soil(cell: Cell): void {
    if (cell.dirty) return;
    cell.dirty = true;
    this.#dirty.push(cell);
  }

  #found(key: ByteString): Cell | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const older = this.#old.get(key);
    if (older !== undefined) this.#keep(older);
    return older;
  }

  #cell<T>(codec: RecordCodec<T>, key: ByteString): Cell {
    const found = this.#found(key);
    if (found !== undefined) return found;
    const bytes = this.#view.get(key);
    const value = bytes && codec.decode(bytes);
    const cell: Cell = { key, codec, value, stored: bytes !== undefined, dirty: false, high: 0, low: 0 };
    if (bytes !== undefined) hashPair(key, bytes, cell);
    this.#keep(cell);
    return cell;
  }

  #keep(cell: Cell): void {
    if (this.#young.size >= this.#generationLimit + this.#dirty.length) {
      this.#old = this.#young;
      this.#young = new Map();
      for (const unflushed of this.#dirty) this.#young.set(unflushed.key, unflushed);
    }
    this.#young.set(cell.key, cell);
  }

  /** Encodes what changed since the last call into `puts` and brings the hash up to date. */
  flush(hash: StateHash, puts: Map<ByteString, Uint8Array | undefined>): void {
    for (const cell of this.#dirty) {
      cell.dirty = false;
      if (cell.value === undefined && !cell.stored) continue;
      if (cell.stored) hash.subtract(cell);
      const bytes = cell.value === undefined ? undefined : cell.codec.encode(cell.value as never);
      cell.stored = bytes !== undefined;
      if (bytes !== undefined) {
        hashPair(cell.key, bytes, cell);
        hash.add(cell);
      }
      puts.set(cell.key, bytes);
    }
    this.#dirty = [];
  }
}
