import { type Interruptible, orInterrupted } from "../../../base/waiting.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import { BLOCK_BYTES, CHUNK_BYTES, compareVersions, type Version } from "../../../core/ids.ts";
import type { BlockCache } from "../blocks/block-cache.ts";
import { Pins } from "../blocks/pins.ts";
import type { Result } from "../handlers.ts";
import type { MetadataReads, Piece } from "../metadata/metadata-reads.ts";
import { chunkOf, cutPieces } from "./chunk-map.ts";
import type { Node, NodeTable } from "./nodes.ts";
import type { ReadAhead } from "./read-ahead.ts";

const ZEROS = new Uint8Array(1024 * 1024);
const CONSISTENT_TRIES = 5;
/** Chunk maps that are fetched together when one is missing: they are small, and most reads are sequential. */
const CHUNKS_AT_ONCE = 4;
const NOTHING: readonly Uint8Array[] = [];

export interface ReadRequest {
  readonly node: Node;
  readonly offset: number;
  readonly length: number;
  /** The version that the open was answered at: nothing older may be read. */
  readonly atLeast: Version;
  readonly readAhead: ReadAhead;
  readonly caller: Interruptible;
}

type Bytes = readonly Uint8Array[];
type BlockBytes = ReturnType<BlockCache["get"]>;

/** Reads files: dirty bytes over the committed ones, holes as zeros, nothing past the end of the file. */
export class FileReader {
  readonly #nodes: NodeTable;
  readonly #reads: MetadataReads;
  readonly #blocks: BlockCache;

  constructor(nodes: NodeTable, reads: MetadataReads, blocks: BlockCache) {
    this.#nodes = nodes;
    this.#reads = reads;
    this.#blocks = blocks;
  }

  /** Bytes that are in memory are returned without a promise. EIO where a block cannot be read. */
  read(request: ReadRequest): Result<Bytes> | Promise<Result<Bytes>> {
    const pins = new Pins();
    const cached = this.#readCached(request, pins);
    if (cached === undefined) {
      return orInterrupted(
        this.#readSlowly(request, pins).finally(() => pins.releaseSoon()),
        request.caller,
      );
    }
    pins.releaseSoon();
    return cached;
  }

  /** The committed pieces of a range; loads chunk maps that are not cached. */
  async pieces(
    node: Node,
    from: number,
    to: number,
    atLeast: Version,
    caller: Interruptible,
  ): Promise<Result<Piece[]>> {
    for (let tries = 0; tries < CONSISTENT_TRIES; tries++) {
      const known = this.#knownPieces(node, from, to);
      if (known !== undefined) return known;
      const error = await this.load(node, chunkOf(from), chunkOf(Math.max(from, to - 1)), atLeast, caller);
      if (error !== undefined) return error;
    }
    return "EIO";
  }

  /** Fetches attributes and chunk maps that belong to the same state of the file. */
  async load(
    node: Node,
    first: number,
    last: number,
    atLeast: Version,
    caller: Interruptible,
  ): Promise<ErrnoCode | undefined> {
    const count = Math.max(last - first + 1, CHUNKS_AT_ONCE);
    let least = compareVersions(node.staleBefore, atLeast) > 0 ? node.staleBefore : atLeast;
    for (let tries = 0; tries < CONSISTENT_TRIES; tries++) {
      const options = { freshness: "token" as const, atLeast: least, interrupt: caller };
      // Sent in one turn of the event loop, both go in one frame and are mostly read at the same version.
      const [attributes, chunks] = await Promise.all([
        this.#reads.attributes(node.inode, options),
        this.#reads.chunks(node.inode, first, count, options),
      ]);
      if (typeof attributes === "string") return attributes;
      if (typeof chunks === "string") return chunks;
      this.#nodes.learn(attributes.attributes, attributes.version);
      const { changed } = attributes.attributes;
      const at = chunks.version.sequence;
      if (changed <= at && at <= attributes.version.sequence) {
        node.chunks.set(chunks.chunks, at);
        return undefined;
      }
      least = at > attributes.version.sequence ? chunks.version : attributes.version;
    }
    return "EIO";
  }

  #knownPieces(node: Node, from: number, to: number): Piece[] | undefined {
    const { attributes } = node;
    if (attributes === undefined || node.stale) return undefined;
    const first = chunkOf(from);
    const last = chunkOf(Math.max(from, to - 1));
    const pieces: Piece[] = [];
    for (let index = first; index <= last; index++) {
      const chunk = node.chunks.get(index, attributes.changed);
      if (chunk === undefined) return undefined;
      pieces.push(...cutPieces(chunk, from, to));
    }
    return pieces;
  }

  #readCached(request: ReadRequest, pins: Pins): Bytes | undefined {
    const { node, offset } = request;
    if (node.attributes === undefined || node.stale || node.writer?.dirty) return undefined;
    const end = Math.min(offset + request.length, node.attributes.size);
    if (end <= offset) return NOTHING;
    const pieces = this.#knownPieces(node, offset, end);
    if (pieces === undefined) return undefined;
    this.#prefetch(request, end);
    const bytes: Uint8Array[] = [];
    let at = offset;
    for (const piece of pieces) {
      pushZeros(bytes, piece.offset - at);
      at = piece.offset + piece.length;
      if (piece.kind === "inline") bytes.push(piece.data);
      else if (!this.#pushCachedBlocks(bytes, piece, pins)) return undefined;
    }
    pushZeros(bytes, end - at);
    return bytes;
  }

  #pushCachedBlocks(bytes: Uint8Array[], piece: Extract<Piece, { kind: "slice" }>, pins: Pins): boolean {
    for (const part of blockParts(piece)) {
      const block = this.#blocks.get(piece.slice, part.index, pins);
      if (!(block instanceof Uint8Array)) return false;
      bytes.push(block.subarray(part.from, part.to));
    }
    return true;
  }

  async #readSlowly(request: ReadRequest, pins: Pins): Promise<Result<Bytes>> {
    const { node, offset, caller } = request;
    for (let missing = 0; ; ) {
      if (node.attributes === undefined || node.stale) {
        const error = await this.load(node, chunkOf(offset), chunkOf(offset), request.atLeast, caller);
        if (error !== undefined) return error;
      }
      const end = Math.min(offset + request.length, sizeOf(node));
      if (end <= offset) return NOTHING;
      const commits = node.writer?.commits;
      const bytes = await this.#readRange(request, end, pins);
      if (bytes === "ESTALE" && missing++ === 0) {
        // A slice that is in no bucket was deleted after the chunk map was read: read the map again, once.
        node.chunks.clear();
        continue;
      }
      if (typeof bytes === "string") return bytes === "ESTALE" ? "EIO" : bytes;
      // Bytes that were committed in the meantime may be in neither the map that was read nor the writer: read again.
      if (node.writer?.commits === commits) return this.#overlaid(node, offset, bytes);
    }
  }

  /** The committed bytes of the range; "ESTALE" when a block is in no bucket. */
  async #readRange(request: ReadRequest, requestedEnd: number, pins: Pins): Promise<Result<Bytes>> {
    const { node, offset } = request;
    if (node.writer?.covers(offset, requestedEnd - offset)) return [new Uint8Array(requestedEnd - offset)];
    const pieces = await this.pieces(node, offset, requestedEnd, request.atLeast, request.caller);
    if (typeof pieces === "string") return pieces;
    // The maps may be newer than the size that the range was cut to: cut it to the size that belongs to them.
    const end = Math.min(requestedEnd, sizeOf(node));
    this.#prefetch(request, end);
    return this.#assemble(cutPieces(pieces, offset, end), { offset, end, pins });
  }

  async #assemble(
    pieces: readonly Piece[],
    { offset, end, pins }: { offset: number; end: number; pins: Pins },
  ): Promise<Result<Bytes>> {
    // Requests all blocks before it waits for the first.
    const parts = pieces.flatMap((piece): { offset: number; data: BlockBytes; from: number; to: number }[] =>
      piece.kind === "inline"
        ? [{ offset: piece.offset, data: piece.data, from: 0, to: piece.length }]
        : blockParts(piece).map(({ index, ...part }) => ({
            ...part,
            data: this.#blocks.get(piece.slice, index, pins),
          })),
    );
    const bytes: Uint8Array[] = [];
    let at = offset;
    for (const part of parts) {
      pushZeros(bytes, part.offset - at);
      const data = await part.data;
      if (typeof data === "string") return data === "missing" ? "ESTALE" : "EIO";
      bytes.push(data.subarray(part.from, part.to));
      at = part.offset + part.to - part.from;
    }
    pushZeros(bytes, end - at);
    return bytes;
  }

  #overlaid(node: Node, offset: number, bytes: Bytes): Bytes {
    const { writer } = node;
    const length = bytes.reduce((sum, piece) => sum + piece.length, 0);
    if (writer === undefined || !writer.touches(offset, length)) return bytes;
    const whole = new Uint8Array(length);
    let at = 0;
    for (const piece of bytes) {
      whole.set(piece, at);
      at += piece.length;
    }
    writer.overlay(whole, offset);
    return [whole];
  }

  /** Prefetches for a sequential reader. */
  #prefetch({ node, offset, readAhead, atLeast, caller }: ReadRequest, end: number): void {
    const ahead = readAhead.next(offset, end - offset);
    if (ahead === undefined) return;
    const to = Math.min(ahead.to, node.attributes?.size ?? end);
    for (let from = ahead.from; from < to; ) {
      const chunkEnd = Math.min((chunkOf(from) + 1) * CHUNK_BYTES, to);
      const pieces = this.#knownPieces(node, from, chunkEnd);
      if (pieces === undefined) {
        readAhead.loadOnce(chunkOf(from), () => this.load(node, chunkOf(from), chunkOf(from), atLeast, caller));
        return;
      }
      for (const piece of pieces) {
        if (piece.kind === "slice")
          for (const { index } of blockParts(piece)) this.#blocks.prefetch(piece.slice, index);
      }
      from = chunkEnd;
    }
  }
}

/**
 * The parts of blocks that a piece of a slice consists of; `offset` is in the file, `from` and `to` are in the block.
 */
function blockParts(
  piece: Extract<Piece, { kind: "slice" }>,
): { index: number; from: number; to: number; offset: number }[] {
  const parts = [];
  const end = piece.sliceOffset + piece.length;
  for (let at = piece.sliceOffset; at < end; ) {
    const index = Math.floor(at / BLOCK_BYTES);
    const to = Math.min(end, (index + 1) * BLOCK_BYTES);
    const base = index * BLOCK_BYTES;
    parts.push({ index, from: at - base, to: to - base, offset: piece.offset + at - piece.sliceOffset });
    at = to;
  }
  return parts;
}

function sizeOf(node: Node): number {
  return Math.max(node.attributes?.size ?? 0, node.writer?.end ?? 0);
}

function pushZeros(bytes: Uint8Array[], length: number): void {
  for (let left = length; left > 0; left -= ZEROS.length) bytes.push(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
}
