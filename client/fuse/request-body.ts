import type { ByteString, Inode, Time } from "../../core/ids.ts";

const HIGH = 0x1_0000_0000;

/**
 * What follows fuse_in_header in one request, read by offset; little endian, as every machine that runs this is.
 * One object is set on each request in turn, so nothing may read it after the handler was called.
 */
export class RequestBody {
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;

  set(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  u32(offset: number): number {
    return this.#bytes.readUInt32LE(this.#start + offset);
  }

  /** Exact below 2^53; what lies above (lock ranges to the end) is cut to Number.MAX_SAFE_INTEGER. */
  u64(offset: number): number {
    return Math.min(this.u32(offset + 4) * HIGH + this.u32(offset), Number.MAX_SAFE_INTEGER);
  }

  /** Signed, exact within ±2^53. */
  i64(offset: number): number {
    return this.#bytes.readInt32LE(this.#start + offset + 4) * HIGH + this.u32(offset);
  }

  inode(offset: number): Inode {
    return this.u64(offset) as Inode;
  }

  time(secondsOffset: number, nanosecondsOffset: number): Time {
    return { seconds: this.i64(secondsOffset), nanoseconds: this.u32(nanosecondsOffset) };
  }

  /** 64 bits that only have to be told apart (lock owners). */
  token(offset: number): string {
    return this.u32(offset + 4).toString(16) + this.u32(offset).toString(16).padStart(8, "0");
  }

  /** A name that ends with NUL; another may follow it. */
  name(offset: number): ByteString {
    const start = this.#start + offset;
    const end = this.#bytes.indexOf(0, start);
    return this.#bytes.toString("latin1", start, end === -1 || end >= this.#end ? this.#end : end) as ByteString;
  }

  /** The bytes themselves, not a copy. */
  bytes(offset: number, length: number): Buffer {
    const start = this.#start + offset;
    return this.#bytes.subarray(start, Math.min(start + length, this.#end));
  }
}
