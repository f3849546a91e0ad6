import type { RecordCodec } from "./codec/records.ts";
import type { ByteString } from "./ids.ts";
import { hashPair, type PairHash, type StateHash } from "./state-hash.ts";

/** The stored state. Must return what earlier turns put, whether or not that has reached the disk. */
export interface KeyValueView {
  get(key: ByteString): Uint8Array | undefined;
}

/** Identifies a cell: its key, or the number in its key, which saves building the key. */
type Handle = ByteString | number;

/** A key and its value, decoded when first read, and the hash of the pair, computed when first needed. */
interface Cell extends PairHash {
  readonly handle: Handle;
  readonly key: ByteString;
  readonly codec: RecordCodec<never>;
  /** The encoded value at the last flush. */
  bytes: Uint8Array | undefined;
  value: unknown;
  decoded: boolean;
  hashed: boolean;
  dirty: boolean;
}

/** Approximate memory of a cell besides its key and bytes: the objects and the decoded value. */
const CELL_BYTES = 400;

/**
 * A write-back cache over a view. It holds the cells that changed since the last flush and, within a bound, those used
 * recently. Two generations approximate an LRU at the cost of a Map lookup: a cell that is used moves to the young one; when
 * that is full it becomes the old one, and the previous old one is dropped, except for cells not yet flushed. Values are
 * never modified in place.
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

  /** The encoded value at the last flush. Must not be modified. */
  bytes<T>(codec: RecordCodec<T>, key: ByteString): Uint8Array | undefined {
    return this.#cell(codec, key).bytes;
  }

  // The same for keys made of a number. Only one kind of record may use these: the numbers of two kinds could be equal.

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

  /** Puts a value under a key that was never used before, as the caller knows: saves the lookups. */
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

  /** Whether the cell is in memory, so that reading it takes no read of the view. */
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
      older.bytes = older.bytes.slice(); // a long-lived cell must not keep a whole slab of small values in memory
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

  /** Encodes the changes since the last flush into `puts`, and updates the hash. */
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
