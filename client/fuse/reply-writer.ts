import type { Attributes } from "../../core/commands.ts";
import type { ByteString } from "../../core/ids.ts";
import type { AttributesReply, EntryReply, LockRange, OpenReply, StatFsReply } from "../volume/handlers.ts";
import { FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, formatOf, LOCK_MODES, OUT_HEADER_BYTES } from "./protocol.ts";

const HIGH = 0x1_0000_0000;
/** Data up to this size is copied behind the header: cheaper than a second buffer in writev(2). */
const COPIED_BYTES_MAX = 16 * 1024;
/** writev(2) takes at most 1,024 parts (IOV_MAX); many small ones cost more than a copy. */
const ATTACHED_PARTS_MAX = 64;
const HEADER_WORDS = OUT_HEADER_BYTES / 4;
/** st_blksize, the preferred I/O size (stat(3type)). */
const BLOCK_SIZE = 4096;

/**
 * Builds one reply at a time in one buffer: `begin`, members in order, `finish`. Every structure of the protocol is a
 * run of 32-bit words, so members are put as words (a store of a number above 2^32, or below 0, keeps its low 32 bits).
 */
export class ReplyWriter {
  readonly #bytes: Buffer;
  readonly #words: Uint32Array;
  #at = HEADER_WORDS;
  #attached: readonly Uint8Array[] = [];
  #attachedBytes = 0;

  constructor(capacityBytes: number) {
    this.#words = new Uint32Array(Math.ceil(capacityBytes / 4) + HEADER_WORDS);
    this.#bytes = Buffer.from(this.#words.buffer);
  }

  begin(): void {
    this.#at = HEADER_WORDS;
    this.#attached = [];
    this.#attachedBytes = 0;
  }

  /** Bytes put since `begin`, the header not counted. */
  get length(): number {
    return (this.#at - HEADER_WORDS) * 4;
  }

  /** The reply without what was attached, header and all; `unique` is echoed as its two halves. Valid until `begin`. */
  finish(uniqueLow: number, uniqueHigh: number, errno = 0, lengthBytes = this.#at * 4): Buffer {
    this.#words[0] = lengthBytes + this.#attachedBytes;
    this.#words[1] = -errno;
    this.#words[2] = uniqueLow;
    this.#words[3] = uniqueHigh;
    return this.#bytes.subarray(0, lengthBytes);
  }

  get attached(): readonly Uint8Array[] {
    return this.#attached;
  }

  u32(value: number): void {
    this.#words[this.#at++] = value;
  }

  u64(value: number): void {
    this.#words[this.#at++] = value;
    this.#words[this.#at++] = Math.floor(value / HIGH);
  }

  /** Bytes, padded with zeros to `alignment`; names in directories are aligned to 8. */
  padded(name: ByteString, alignment: number): void {
    const start = this.#at * 4;
    const end = start + name.length;
    const aligned = Math.ceil(end / alignment) * alignment;
    this.#bytes.write(name, start, "latin1");
    this.#bytes.fill(0, end, aligned);
    this.#at = aligned / 4;
  }

  /**
   * Attaches the rest of the reply: file data, a link target, an xattr. Nothing can be put after it. Answers its
   * length, bytes.
   */
  data(chunks: readonly Uint8Array[]): number {
    this.#attached = chunks;
    for (const chunk of chunks) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError("data must be bytes");
      this.#attachedBytes += chunk.length;
    }
    return this.#attachedBytes;
  }

  /** Copies attached data that is small, or in many parts, behind the header, so that the reply is one buffer. Answers its length, bytes. */
  inlineSmall(): number {
    let end = this.#at * 4;
    if (this.#attachedBytes > COPIED_BYTES_MAX && this.#attached.length <= ATTACHED_PARTS_MAX) return end;
    for (const chunk of this.#attached) {
      this.#bytes.set(chunk, end);
      end += chunk.length;
    }
    this.#attached = [];
    this.#attachedBytes = 0;
    return end;
  }
}

/** struct fuse_attr (88 bytes). */
function putAttributes(out: ReplyWriter, attributes: Attributes): void {
  const { atime, mtime, ctime } = attributes;
  out.u64(attributes.inode);
  out.u64(attributes.size);
  out.u64(Math.ceil(attributes.usedBytes / 512));
  out.u64(atime.seconds);
  out.u64(mtime.seconds);
  out.u64(ctime.seconds);
  out.u32(atime.nanoseconds);
  out.u32(mtime.nanoseconds);
  out.u32(ctime.nanoseconds);
  out.u32(formatOf(attributes.kind) | attributes.mode);
  out.u32(attributes.links);
  out.u32(attributes.uid);
  out.u32(attributes.gid);
  out.u32(attributes.device);
  out.u32(BLOCK_SIZE);
  out.u32(0);
}

/** struct fuse_attr_out. */
export function putAttributesReply(out: ReplyWriter, reply: AttributesReply): void {
  out.u64(Math.floor(reply.validMs / 1000));
  out.u32((reply.validMs % 1000) * 1e6);
  out.u32(0);
  putAttributes(out, reply.attributes);
}

/** struct fuse_entry_out. Inode numbers are never reused, so the generation is always 0. */
export function putEntry(out: ReplyWriter, reply: EntryReply): void {
  out.u64(reply.attributes.inode);
  out.u64(0);
  out.u64(Math.floor(reply.entryValidMs / 1000));
  out.u64(Math.floor(reply.validMs / 1000));
  out.u32((reply.entryValidMs % 1000) * 1e6);
  out.u32((reply.validMs % 1000) * 1e6);
  putAttributes(out, reply.attributes);
}

/**
 * struct fuse_entry_out with nodeid 0: a negative entry that is valid for `entryValidMs`, or 0 where there is no entry.
 */
export function putNoEntry(out: ReplyWriter, entryValidMs: number): void {
  out.u64(0);
  out.u64(0);
  out.u64(Math.floor(entryValidMs / 1000));
  out.u64(0);
  out.u32((entryValidMs % 1000) * 1e6);
  out.u32(0);
  for (let word = 0; word < 22; word++) out.u32(0);
}

/** struct fuse_open_out. `cacheFlags`: the FOPEN_* flags that keepCache stands for. */
export function putOpen(out: ReplyWriter, open: OpenReply, cacheFlags = FOPEN_KEEP_CACHE): void {
  out.u64(open.handle);
  out.u32((open.keepCache ? cacheFlags : 0) | (open.directIo ? FOPEN_DIRECT_IO : 0));
  out.u32(0);
}

/** struct fuse_kstatfs. */
export function putStatFs(out: ReplyWriter, reply: StatFsReply, nameBytesMax: number): void {
  out.u64(reply.blocks);
  out.u64(reply.blocksFree);
  out.u64(reply.blocksFree);
  out.u64(reply.inodes);
  out.u64(reply.inodesFree);
  out.u32(reply.blockBytes);
  out.u32(nameBytesMax);
  out.u32(reply.blockBytes);
  for (let word = 0; word < 7; word++) out.u32(0);
}

/** struct fuse_file_lock. An end at Number.MAX_SAFE_INTEGER is the kernel's OFFSET_MAX. */
export function putLock(out: ReplyWriter, lock: LockRange): void {
  out.u64(lock.start);
  if (lock.end < Number.MAX_SAFE_INTEGER) out.u64(lock.end);
  else {
    out.u32(0xffffffff);
    out.u32(0x7fffffff);
  }
  out.u32(LOCK_MODES.indexOf(lock.mode));
  out.u32(lock.pid);
}
