import type { RecordCodec } from "./codec/records.ts";
import type { ByteString } from "./ids.ts";
import { hashPair, type PairHash, type StateHash } from "./state-hash.ts";

/** Where the state is kept. Must show what earlier turns put at once, written to a disk or not. */
export interface KeyValueView {
  get(key: ByteString): Uint8Array | undefined;
}

/** By what a cell is found: its key, or the number that the key is made of, which spares making it. */
type Handle = ByteString | number;

/** A pair, decoded when it was asked for, and its hash when it was needed. */
interface Cell extends PairHash {
  readonly handle: Handle;
  readonly key: ByteString;
  readonly codec: RecordCodec<never>;
  /** As the state holds it; of a dirty cell, as it did before. */
  bytes: Uint8Array | undefined;
  value: unknown;
  decoded: boolean;
  hashed: boolean;
  dirty: boolean;
}

/** Roughly what a cell takes beside its key and its bytes: the objects themselves and a decoded value. */
const CELL_BYTES = 400;

/**
 * The pairs of a view that were changed in this turn, or read or written lately. The latter are kept within a bound, in two
 * generations, which is an LRU at the price of a Map look-up: what is used moves to the young one, and when that is full
 * it becomes the old one; what is not yet flushed always stays. Values are never changed in place.
 */
export class Cells {
  readonly #view: KeyValueView;
  readonly #generationBytesMax: number;
  #young = new Map<Handle, Cell>();
  #youngBytes = 0;
  #old = new Map<Handle, Cell>();
  #dirty: Cell[] = [];

  constructor(view: KeyValueView, bytesMax: number) {
    this.#view = view;
    this.#generationBytesMax = bytesMax / 2;
  }

  get<T>(codec: RecordCodec<T>, key: ByteString): T | undefined {
    return decodedOf<T>(this.#cell(codec, key));
  }

  put<T>(codec: RecordCodec<T>, key: ByteString, value: T | undefined): void {
    this.#change(this.#cell(codec, key), value);
  }

  /** As it was at the end of the last turn. Not to be changed. */
  bytes<T>(codec: RecordCodec<T>, key: ByteString): Uint8Array | undefined {
    return this.#cell(codec, key).bytes;
  }

  // The same for keys that are made of one number. Numbers of different kinds of records must not meet: only one kind uses these.

  getNumbered<T>(codec: RecordCodec<T>, number: number, keyOf: (number: number) => ByteString): T | undefined {
    return decodedOf<T>(this.#numbered(codec, number, keyOf));
  }

  putNumbered<T>(
    codec: RecordCodec<T>,
    number: number,
    keyOf: (number: number) => ByteString,
    value: T | undefined,
  ): void {
    this.#change(this.#numbered(codec, number, keyOf), value);
  }

  /** Puts where the caller knows that there never was anything: spares the look-ups. */
  insertNumbered<T>(codec: RecordCodec<T>, number: number, key: ByteString, value: T): void {
    const cell = newCell(codec, number, key, undefined);
    this.#keep(cell);
    this.#change(cell, value);
  }

  bytesNumbered<T>(
    codec: RecordCodec<T>,
    number: number,
    keyOf: (number: number) => ByteString,
  ): Uint8Array | undefined {
    return this.#numbered(codec, number, keyOf).bytes;
  }

  /** Whether it is here: a read that must not take long may go past the view otherwise. */
  holdsNumbered(number: number): boolean {
    return this.#young.has(number) || this.#old.has(number);
  }

  #change(cell: Cell, value: unknown): void {
    cell.value = value;
    cell.decoded = true;
    if (cell.dirty) return;
    cell.dirty = true;
    this.#dirty.push(cell);
  }

  #cell<T>(codec: RecordCodec<T>, key: ByteString): Cell {
    return this.#found(key) ?? this.#load(codec, key, key);
  }

  #numbered<T>(codec: RecordCodec<T>, number: number, keyOf: (number: number) => ByteString): Cell {
    return this.#found(number) ?? this.#load(codec, number, keyOf(number));
  }

  #found(handle: Handle): Cell | undefined {
    const young = this.#young.get(handle);
    if (young !== undefined) return young;
    const older = this.#old.get(handle);
    if (older === undefined) return undefined;
    if (older.bytes !== undefined && older.bytes.buffer.byteLength > 2 * older.bytes.length) {
      older.bytes = older.bytes.slice(); // what lives long must not keep a whole slab of small values
    }
    this.#keep(older);
    return older;
  }

  #load<T>(codec: RecordCodec<T>, handle: Handle, key: ByteString): Cell {
    const cell = newCell(codec, handle, key, this.#view.get(key));
    this.#keep(cell);
    return cell;
  }

  #keep(cell: Cell): void {
    if (this.#youngBytes >= this.#generationBytesMax) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
      for (const unflushed of this.#dirty) this.#young.set(unflushed.handle, unflushed);
    }
    this.#young.set(cell.handle, cell);
    this.#youngBytes += CELL_BYTES + cell.key.length + (cell.bytes?.length ?? 0);
  }

  /** Encodes what changed since the last call into `puts` and brings the hash up to date. */
  flush(hash: StateHash, puts: Map<ByteString, Uint8Array | undefined>): void {
    for (const cell of this.#dirty) {
      cell.dirty = false;
      const before = cell.bytes;
      const after = cell.value === undefined ? undefined : cell.codec.encode(cell.value as never);
      if (before !== undefined) {
        if (!cell.hashed) hashPair(cell.key, before, cell);
        hash.subtract(cell);
      } else if (after === undefined) continue;
      if (after !== undefined) {
        hashPair(cell.key, after, cell);
        hash.add(cell);
        this.#youngBytes += Math.max(0, after.length - (before?.length ?? 0));
      }
      cell.hashed = after !== undefined;
      cell.bytes = after;
      puts.set(cell.key, after);
    }
    this.#dirty = [];
  }
}

function newCell<T>(codec: RecordCodec<T>, handle: Handle, key: ByteString, bytes: Uint8Array | undefined): Cell {
  return {
    handle,
    key,
    codec: codec as unknown as RecordCodec<never>,
    bytes,
    value: undefined,
    decoded: bytes === undefined,
    hashed: false,
    dirty: false,
    high: 0,
    low: 0,
  };
}

function decodedOf<T>(cell: Cell): T | undefined {
  if (!cell.decoded) {
    cell.value = cell.codec.decode(cell.bytes!);
    cell.decoded = true;
  }
  return cell.value as T | undefined;
}
