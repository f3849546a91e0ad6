import type { ByteString, Inode, Time } from "../../core/ids.ts";

const HIGH = 0x1_0000_0000;

/**
 * The bytes that follow struct fuse_in_header in one request, read by offset. Little-endian, like every machine that
 * runs this. One object serves all requests in turn, so it must not be read after the handler was called.
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

  /** Exact below 2^53; a larger value (the end of a lock range) becomes Number.MAX_SAFE_INTEGER. */
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

  /** 64 bits that are only compared (lock owners). */
  token(offset: number): string {
    return this.u32(offset + 4).toString(16) + this.u32(offset).toString(16).padStart(8, "0");
  }

  /** A NUL-terminated name; another may follow. */
  name(offset: number): ByteString {
    const start = this.#start + offset;
    const end = this.#bytes.indexOf(0, start);
    return this.#bytes.toString("latin1", start, end === -1 || end >= this.#end ? this.#end : end) as ByteString;
  }

  /** A view of the bytes, not a copy. */
  bytes(offset: number, length: number): Buffer {
    const start = this.#start + offset;
    return this.#bytes.subarray(start, Math.min(start + length, this.#end));
  }
}
