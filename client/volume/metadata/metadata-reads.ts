import type { Interruptible } from "../../../base/waiting.ts";
import { type ChunkValue, decodeAttributes, decodeChunk, decodeSlice, INODE_KINDS } from "../../../core/codec.ts";
import type { Attributes, InodeKind, Slice } from "../../../core/commands.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import { type ByteString, CHUNK_BYTES, type Inode, type SliceId, type Version } from "../../../core/ids.ts";
import { type Response, Status } from "../../../proto/generated/metadata.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { LockRange, Result } from "../handlers.ts";
import type { RequestBody } from "./connection.ts";
import type { ReadOptions } from "./read-policy.ts";
import type { Router } from "./router.ts";

/** A range of a file, at `offset` in the file: inline data, or the bytes of a slice from `sliceOffset` on. */
export type Piece =
  | { readonly kind: "inline"; readonly offset: number; readonly length: number; readonly data: Uint8Array }
  | {
      readonly kind: "slice";
      readonly offset: number;
      readonly length: number;
      readonly slice: Slice;
      readonly sliceOffset: number;
    };

/** By index of each requested chunk: its pieces, sorted, without the holes. */
export type Chunks = ReadonlyMap<number, readonly Piece[]>;

export interface At {
  readonly version: Version;
}

export interface ListedEntry {
  readonly name: ByteString;
  readonly inode: Inode;
  readonly kind: InodeKind;
  readonly attributes: Attributes | undefined;
}

/** A directory entry that the kernel has cached and may have used to get to an inode. */
export interface CachedName {
  readonly parent: Inode;
  readonly name: ByteString;
  readonly inode: Inode;
}

const LOCK_QUERY = { findMs: 5000, answerMs: 5000 };

/** The read requests to the metadata servers, in core's types. A failure is an errno. */
export class MetadataReads {
  readonly #router: Router;

  constructor(router: Router) {
    this.#router = router;
  }

  async lookup(
    parent: Inode,
    name: ByteString,
    options: ReadOptions,
  ): Promise<Result<At & { attributes: Attributes }>> {
    const answer = await this.#read({ $case: "lookup", value: { parent, name: toBytes(name) } }, options);
    return typeof answer === "string" ? answer : { version: versionOf(answer), attributes: attributesOf(answer) };
  }

  async attributes(inode: Inode, options: ReadOptions): Promise<Result<At & { attributes: Attributes }>> {
    const answer = await this.#read({ $case: "getAttributes", value: { inode } }, options);
    return typeof answer === "string" ? answer : { version: versionOf(answer), attributes: attributesOf(answer) };
  }

  /**
   * With the first `chunks` chunks. `stale`: ESTALE, and the index of the first of `names` that does not hold at the
   * server.
   */
  async open(
    inode: Inode,
    names: readonly CachedName[],
    chunks: number,
    interrupt: Interruptible,
  ): Promise<ErrnoCode | { stale: number } | (At & { attributes: Attributes; chunks: Chunks })> {
    const body: RequestBody = {
      $case: "open",
      value: {
        inode,
        chunks,
        beliefs: names.map((cached) => ({ ...cached, name: toBytes(cached.name) })),
      },
    };
    const answer = await this.#router.read(body, { freshness: "committed", interrupt });
    if (typeof answer === "string") return answer;
    if (answer.status === Status.FAILED) {
      return answer.error === "ESTALE" && names.length > 0 ? { stale: answer.staleBelief } : errorOf(answer);
    }
    return {
      version: versionOf(answer),
      attributes: attributesOf(answer),
      chunks: chunksOf(answer, 0, Math.max(chunks, 0)),
    };
  }

  /** Registers an open at the server that needs no check (CREATE). */
  noteOpen(inode: Inode): Promise<unknown> {
    return this.#router.read({ $case: "open", value: { inode, beliefs: [], chunks: 0 } }, { freshness: "token" });
  }

  release(inode: Inode, handles: number): void {
    void this.#router.read({ $case: "release", value: { inode, handles } }, { freshness: "token" });
  }

  async chunks(
    inode: Inode,
    first: number,
    count: number,
    options: ReadOptions,
  ): Promise<Result<At & { chunks: Chunks }>> {
    const answer = await this.#read({ $case: "readChunks", value: { inode, first, count } }, options);
    return typeof answer === "string" ? answer : { version: versionOf(answer), chunks: chunksOf(answer, first, count) };
  }

  async directory(
    inode: Inode,
    page: { after: ByteString; limit: number; attributes: boolean },
    options: ReadOptions,
  ): Promise<Result<At & { entries: ListedEntry[]; end: boolean }>> {
    const value = { inode, after: toBytes(page.after), limit: page.limit, attributes: page.attributes };
    const answer = await this.#read({ $case: "readDirectory", value }, options);
    if (typeof answer === "string") return answer;
    const entries = answer.entries.map((entry) => ({
      name: toByteString(entry.name),
      inode: entry.inode as Inode,
      kind: INODE_KINDS.name(entry.kind),
      attributes: entry.attributes.length === 0 ? undefined : decodeAttributes(entry.attributes),
    }));
    return { version: versionOf(answer), entries, end: answer.end };
  }

  async readLink(inode: Inode, interrupt: Interruptible): Promise<Result<{ target: ByteString }>> {
    const answer = await this.#read({ $case: "readLink", value: { inode } }, { freshness: "token", interrupt });
    return typeof answer === "string" ? answer : { target: toByteString(answer.value) };
  }

  async getXattr(inode: Inode, name: ByteString, interrupt: Interruptible): Promise<Result<Uint8Array>> {
    const body: RequestBody = { $case: "getXattr", value: { inode, name: toBytes(name) } };
    const answer = await this.#read(body, { freshness: "committed", interrupt });
    return typeof answer === "string" ? answer : answer.value;
  }

  async listXattrs(inode: Inode, interrupt: Interruptible): Promise<Result<ByteString[]>> {
    const answer = await this.#read({ $case: "listXattrs", value: { inode } }, { freshness: "committed", interrupt });
    return typeof answer === "string" ? answer : answer.names.map(toByteString);
  }

  async usage(interrupt: Interruptible): Promise<Result<{ bytes: number; inodes: number }>> {
    const answer = await this.#read({ $case: "statFs", value: {} }, { freshness: "token", interrupt });
    return typeof answer === "string" ? answer : (answer.usage ?? { bytes: 0, inodes: 0 });
  }

  /** The lock that conflicts with this one, as F_GETLK in fcntl(2). Asks the primary, which has all locks. */
  async heldLock(inode: Inode, table: "posix" | "flock", owner: string, range: LockRange): Promise<Result<LockRange>> {
    const { mode, start, end } = range;
    const body: RequestBody = { $case: "getLock", value: { inode, table, owner, mode, start, end } };
    const answer = await this.#router.askPrimary(body, LOCK_QUERY);
    if (typeof answer === "string" || answer.status > Status.FAILED) return "EIO";
    if (answer.status === Status.FAILED) return errorOf(answer);
    if (answer.lock === undefined) return { ...range, mode: "unlock" };
    return { ...answer.lock, mode: answer.lock.mode === "write" ? "write" : "read" };
  }

  /** Reports slices that a reader in this region misses in its bucket, so that they are copied first. */
  reportMissing(slices: readonly SliceId[]): void {
    void this.#router.read({ $case: "wantBlocks", value: { slices: [...slices] } }, { freshness: "token" });
  }

  async #read(body: RequestBody, options: ReadOptions): Promise<Response | ErrnoCode> {
    const answer = await this.#router.read(body, options);
    return typeof answer === "string" || answer.status === Status.OK ? answer : errorOf(answer);
  }
}

function errorOf(answer: Response): ErrnoCode {
  return (answer.error || "EIO") as ErrnoCode;
}

function versionOf(answer: Response): Version {
  return asVersion(answer.version);
}

function attributesOf(answer: Response): Attributes {
  return decodeAttributes(answer.attributes);
}

function chunksOf(answer: Response, first: number, count: number): Chunks {
  const slices = new Map<number, Slice>();
  for (const record of answer.slices) slices.set(record.id, decodeSlice(record.slice));
  const chunks = new Map<number, readonly Piece[]>();
  for (let index = first; index < first + count; index++) chunks.set(index, []);
  for (const { index, chunk } of answer.chunks) chunks.set(index, piecesOf(decodeChunk(chunk), index, slices));
  return chunks;
}

function piecesOf(chunk: ChunkValue, index: number, slices: ReadonlyMap<number, Slice>): Piece[] {
  const base = index * CHUNK_BYTES;
  return chunk.segments.map((segment) => {
    const offset = base + segment.offset;
    if (segment.kind === "inline") return { kind: "inline", offset, length: segment.data.length, data: segment.data };
    const slice = slices.get(segment.slice);
    if (slice === undefined) throw new Error(`chunk ${index} names slice ${segment.slice}, which did not come with it`);
    return { kind: "slice", offset, length: segment.length, slice, sliceOffset: segment.sliceOffset };
  });
}

function toBytes(text: ByteString): Buffer {
  return Buffer.from(text, "latin1");
}

function toByteString(bytes: Buffer): ByteString {
  return bytes.toString("latin1") as ByteString;
}
