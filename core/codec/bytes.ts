import type { ByteString, Time } from "../ids.ts";

/** Bytes that cannot be decoded, or a value that cannot be encoded. The message says what is wrong, and where. */
export class CodecError extends RangeError {
  override readonly name = "CodecError";
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const TWO_32 = 2 ** 32;
/** Small results are cut from shared slabs, as Node does for Buffers: a separate allocation takes over a microsecond. */
const SLAB_BYTES = 16_384;

/** Appends to one growing buffer; `finish` returns a copy. Integers have a fixed size and are little-endian, or are LEB128. */
export class Writer {
  #bytes: Uint8Array = new Uint8Array(4096);
  #length = 0;
  #slab: Uint8Array = new Uint8Array(SLAB_BYTES);
  #slabUsed = 0;

  /** Discards what was written, also after an exception in the middle of a value. */
  restart(): this {
    this.#length = 0;
    return this;
  }

  finish(): Uint8Array {
    const length = this.#length;
    if (length > SLAB_BYTES / 8) return this.#bytes.slice(0, length);
    if (length > SLAB_BYTES - this.#slabUsed) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    const end = this.#slabUsed + length;
    const copy = this.#slab.subarray(this.#slabUsed, end);
    const bytes = this.#bytes;
    for (let at = 0; at < length; at++) copy[at] = bytes[at]!;
    this.#slabUsed = end;
    return copy;
  }

  #reserve(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
  }

  u32(value: number): void {
    const at = this.#reserve(4);
    const bytes = this.#bytes;
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
    bytes[at + 2] = value >>> 16;
    bytes[at + 3] = value >>> 24;
  }

  /** An integer 0…2^53-1 as unsigned LEB128: seven bits a byte, the low ones first. */
  uint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new CodecError(`${value} is not an integer in 0…2^53-1`);
    let rest = value;
    while (rest >= 2 ** 31) {
      this.u8((rest & 127) | 128);
      rest = Math.floor(rest / 128);
    }
    while (rest >= 128) {
      this.u8((rest & 127) | 128);
      rest >>>= 7;
    }
    this.u8(rest);
  }

  /** Seconds as a signed 64-bit integer, nanoseconds as an unsigned 32-bit one. */
  time(value: Time): void {
    const { seconds, nanoseconds } = value;
    if (!Number.isSafeInteger(seconds)) throw new CodecError(`${seconds} seconds: not a safe integer`);
    if (!(Number.isInteger(nanoseconds) && nanoseconds >= 0 && nanoseconds < 1e9)) {
      throw new CodecError(`${nanoseconds} nanoseconds: not an integer in 0…999999999`);
    }
    this.u32(seconds >>> 0);
    this.u32(Math.floor(seconds / TWO_32) >>> 0);
    this.u32(nanoseconds);
  }

  /** With their length in front, as byteString and text. */
  bytes(value: Uint8Array): void {
    this.uint(value.length);
    this.raw(value);
  }

  /** Without their length: only for the last field. */
  raw(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  byteString(value: ByteString): void {
    const length = value.length;
    this.uint(length);
    const at = this.#reserve(length);
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code > 255) throw new CodecError(`character ${code} at ${i} of a byte string is not a byte`);
      bytes[at + i] = code;
    }
  }

  text(value: string): void {
    if (isAscii(value)) {
      this.byteString(value as ByteString);
      return;
    }
    if (!value.isWellFormed()) throw new CodecError("a text has a lone surrogate");
    this.bytes(utf8Encoder.encode(value));
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0);
  }
}

/** Reads what Writer wrote. Every read is bounds-checked; malformed bytes throw a CodecError. `what` begins its message. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at: number;

  constructor(bytes: Uint8Array, what: string, offset = 0) {
    this.#bytes = bytes;
    this.#what = what;
    this.#at = offset;
  }

  get offset(): number {
    return this.#at;
  }

  fail(why: string): CodecError {
    return new CodecError(`${this.#what}: ${why} (at byte ${this.#at} of ${this.#bytes.length})`);
  }

  /** Checks that all bytes were read. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw this.fail("has trailing bytes");
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw this.fail(`ends early, ${count} more bytes expected`);
    this.#at = at + count;
    return at;
  }

  /** Reads the format byte that a value begins with, and checks that it is `expected`. */
  format(expected: number): void {
    const format = this.u8();
    if (format !== expected) throw this.fail(`unknown format ${format}, expected ${expected}`);
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  u32(): number {
    const at = this.#take(4);
    const bytes = this.#bytes;
    return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
  }

  uint(): number {
    let byte = this.u8();
    if (byte < 128) return byte;
    let value = byte & 127;
    let scale = 128;
    do {
      byte = this.u8();
      value += (byte & 127) * scale;
      scale *= 128;
      if (value > Number.MAX_SAFE_INTEGER || scale > 2 ** 56) throw this.fail("a number is 2^53 or more");
    } while (byte >= 128);
    if (byte === 0) throw this.fail("a number is not in its shortest form");
    return value;
  }

  time(): Time {
    const low = this.u32();
    const seconds = (this.u32() | 0) * TWO_32 + low;
    const nanoseconds = this.u32();
    if (!Number.isSafeInteger(seconds)) throw this.fail("seconds beyond 2^53");
    if (nanoseconds >= 1e9) throw this.fail("nanoseconds beyond 999999999");
    return { seconds, nanoseconds };
  }

  /** A copy, so that a value that is kept does not keep the whole entry in memory. */
  bytes(): Uint8Array {
    return this.#copy(this.uint());
  }

  /** All remaining bytes, as a copy. */
  rest(): Uint8Array {
    return this.#copy(this.#bytes.length - this.#at);
  }

  #copy(length: number): Uint8Array {
    const at = this.#take(length);
    const copy = new Uint8Array(length);
    copy.set(this.#bytes.subarray(at, at + length));
    return copy;
  }

  byteString(): ByteString {
    const length = this.uint();
    const at = this.#take(length);
    if (length > 4096) return longByteString(this.#bytes.subarray(at, at + length));
    return String.fromCharCode.apply(null, this.#bytes.subarray(at, at + length) as unknown as number[]) as ByteString;
  }

  text(): string {
    const bytes = this.bytes();
    try {
      return utf8Decoder.decode(bytes);
    } catch {
      throw this.fail("a text is not UTF-8");
    }
  }

  bool(): boolean {
    const byte = this.u8();
    if (byte > 1) throw this.fail(`${byte} is not a boolean`);
    return byte === 1;
  }

  /** A number of items of at least `itemBytes` each. Checked against the remaining bytes before anything is allocated. */
  count(itemBytes: number): number {
    const count = this.uint();
    if (count * itemBytes > this.#bytes.length - this.#at)
      throw this.fail(`${count} items do not fit in the remaining bytes`);
    return count;
  }

  list<T>(itemBytes: number, item: () => T): T[] {
    const items: T[] = [];
    for (let left = this.count(itemBytes); left > 0; left--) items.push(item());
    return items;
  }
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 127) return false;
  return true;
}

function longByteString(bytes: Uint8Array): ByteString {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + 4096) as unknown as number[]);
  }
  return text as ByteString;
}

const writer = new Writer();

/** Encodes with a shared writer. `write` must not call an encoder itself: that would restart the writer. */
export function encodeWith(write: (writer: Writer) => void): Uint8Array {
  write(writer.restart());
  return writer.finish();
}

/**
 * Names and their codes on the wire, both ways. Total over the names, so that a new one does not compile without a code.
 * Codes are part of the format: never changed, never reused.
 */
export class CodeTable<T extends string> {
  readonly #codes: ReadonlyMap<string, number>;
  readonly #names: ReadonlyMap<number, T>;

  constructor(codes: { readonly [Name in T]: number }) {
    const rows = Object.entries(codes) as [T, number][];
    this.#codes = new Map(rows);
    this.#names = new Map(rows.map(([name, code]) => [code, name]));
    if (this.#names.size < rows.length) throw new RangeError(`two of ${Object.keys(codes)} have the same code`);
  }

  /** @throws CodecError for a name that is not in the table. */
  code(name: T): number {
    const code = this.#codes.get(name);
    if (code === undefined) throw new CodecError(`${JSON.stringify(name)} has no code`);
    return code;
  }

  /** @throws CodecError for a code that is not in the table. */
  name(code: number): T {
    const name = this.#names.get(code);
    if (name === undefined) throw new CodecError(`code ${code} is unknown, ${this.#names.size} are known`);
    return name;
  }
}
