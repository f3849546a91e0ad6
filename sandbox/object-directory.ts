import { createHash, randomUUID } from "node:crypto";
import { createReadStream, renameSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rm, unlink } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import pLimit from "p-limit";
import { type Algorithm, summing } from "./checksums.ts";

/** The metadata stored with an object's bytes. */
export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  readonly etag: string;
  /** GCS's generation: microseconds, unique in the bucket. */
  readonly generation: number;
  readonly metageneration: number;
  readonly contentType: string;
  readonly modifiedMs: number;
  /** Keyed by algorithm, in base64: "crc32c", "md5", … */
  readonly checksums: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Uploaded bytes that are not an object yet. */
export interface Upload {
  readonly file: string;
  readonly bytes: number;
}

/** What the client states about an object when it stores it. */
export type Attributes = Pick<StoredObject, "contentType" | "checksums" | "metadata"> & { etag?: string };

export interface Listing {
  readonly objects: StoredObject[];
  readonly prefixes: string[];
  /** The last key or common prefix on this page; undefined on the last page. */
  readonly last: string | undefined;
}

const FOOTER = Buffer.from("OBJ1");
const WRITE_BYTES = 1 << 20;

/**
 * One bucket on disk. An object is one file: its bytes, its metadata as JSON, the JSON's length, a magic number. It is
 * created by one rename, so that an object is complete or absent even when the server is killed.
 */
export class ObjectDirectory {
  readonly #objectsDir: string;
  readonly #uploadsDir: string;
  readonly #objects = new Map<string, StoredObject>();
  /** Sorted; undefined when it must be rebuilt. */
  #keys: string[] | undefined;
  #lastGeneration = 0;

  private constructor(directory: string) {
    this.#objectsDir = path.join(directory, "objects");
    this.#uploadsDir = path.join(directory, "uploads");
  }

  static async open(directory: string): Promise<ObjectDirectory> {
    const opened = new ObjectDirectory(directory);
    await rm(opened.#uploadsDir, { recursive: true, force: true });
    await mkdir(opened.#uploadsDir, { recursive: true });
    await mkdir(opened.#objectsDir, { recursive: true });
    const limit = pLimit(16);
    const names = await readdir(opened.#objectsDir);
    for (const object of await Promise.all(names.map((name) => limit(() => opened.#load(name)))))
      opened.#remember(object);
    return opened;
  }

  find(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }

  /** Stores a body as an upload. A body that fails leaves nothing behind. */
  async receive(body: AsyncIterable<Buffer>): Promise<Upload> {
    const file = path.join(this.#uploadsDir, randomUUID());
    const handle = await open(file, "wx");
    try {
      return { file, bytes: await writeAll(handle, body) };
    } catch (error) {
      await unlink(file);
      throw error;
    } finally {
      await handle.close();
    }
  }

  async discard(upload: Upload): Promise<void> {
    await unlink(upload.file).catch(() => {});
  }

  /**
   * Turns an upload into an object. `allowed` is evaluated in the same turn as the rename, so that of two concurrent
   * conditional creates one wins.
   * @returns undefined when `allowed` refused; the upload is discarded.
   */
  async commit(
    upload: Upload,
    key: string,
    attributes: Attributes,
    allowed: (current: StoredObject | undefined) => boolean,
  ): Promise<StoredObject | undefined> {
    const object: StoredObject = {
      ...attributes,
      key,
      bytes: upload.bytes,
      etag: attributes.etag ?? randomUUID().replaceAll("-", ""),
      generation: this.#nextGeneration(),
      metageneration: 1,
      modifiedMs: Date.now(),
    };
    await appendRecord(upload, object);
    if (!allowed(this.#objects.get(key))) {
      await this.discard(upload);
      return undefined;
    }
    renameSync(upload.file, this.#path(key));
    this.#remember(object);
    return object;
  }

  /**
   * Copies an object of this or another bucket to `key`, and computes its checksums anew.
   * @returns undefined when `allowed` refused.
   */
  async copy(
    from: { readonly directory: ObjectDirectory; readonly object: StoredObject },
    key: string,
    algorithms: readonly Algorithm[],
    allowed: (current: StoredObject | undefined) => boolean,
  ): Promise<StoredObject | undefined> {
    const { body, sums } = summing(from.directory.read(from.object), algorithms);
    const upload = await this.receive(body);
    const { contentType, metadata } = from.object;
    return await this.commit(
      upload,
      key,
      { contentType, metadata, checksums: sums() as Record<string, string> },
      allowed,
    );
  }

  read(object: StoredObject, range?: { first: number; last: number }): Readable {
    const { first, last } = range ?? { first: 0, last: object.bytes - 1 };
    if (last < first) return Readable.from([]);
    return createReadStream(this.#path(object.key), { start: first, end: last, highWaterMark: WRITE_BYTES });
  }

  async remove(key: string): Promise<boolean> {
    if (!this.#objects.delete(key)) return false;
    this.#keys = undefined;
    await unlink(this.#path(key));
    return true;
  }

  /**
   * Lists keys in order, after `after` (exclusive) or from `from` (inclusive). With a delimiter keys are rolled up to
   * common prefixes.
   */
  list(query: { prefix: string; after?: string; from?: string; delimiter?: string; limit: number }): Listing {
    this.#keys ??= [...this.#objects.keys()].sort();
    const listing = { objects: [] as StoredObject[], prefixes: [] as string[], last: undefined as string | undefined };
    const start = [query.prefix, query.from ?? "", query.after ?? ""].sort().at(-1)!;
    for (let at = lowerBound(this.#keys, start); at < this.#keys.length; at++) {
      const key = this.#keys[at]!;
      if (!key.startsWith(query.prefix)) break;
      if (query.after !== undefined && key <= query.after) continue;
      const rolled = rollUp(key, query.prefix, query.delimiter);
      if (rolled !== undefined && (rolled === listing.prefixes.at(-1) || isBehind(rolled, query.after))) continue;
      if (listing.objects.length + listing.prefixes.length === query.limit) return listing;
      if (rolled === undefined) listing.objects.push(this.#objects.get(key)!);
      else listing.prefixes.push(rolled);
      listing.last = rolled ?? key;
    }
    return { ...listing, last: undefined };
  }

  #remember(object: StoredObject): void {
    if (!this.#objects.has(object.key) && this.#keys !== undefined) {
      this.#keys.splice(lowerBound(this.#keys, object.key), 0, object.key);
    }
    this.#objects.set(object.key, object);
    this.#lastGeneration = Math.max(this.#lastGeneration, object.generation);
  }

  #nextGeneration(): number {
    this.#lastGeneration = Math.max(this.#lastGeneration + 1, Date.now() * 1000);
    return this.#lastGeneration;
  }

  #path(key: string): string {
    return path.join(this.#objectsDir, createHash("sha256").update(key).digest("hex"));
  }

  async #load(name: string): Promise<StoredObject> {
    const handle = await open(path.join(this.#objectsDir, name), "r");
    try {
      const { size } = await handle.stat();
      const end = Buffer.alloc(8);
      await handle.read(end, 0, 8, size - 8);
      if (!end.subarray(4).equals(FOOTER)) throw new Error(`${path.join(this.#objectsDir, name)} is not an object`);
      const record = Buffer.alloc(end.readUInt32BE());
      await handle.read(record, 0, record.length, size - 8 - record.length);
      return JSON.parse(record.toString()) as StoredObject;
    } finally {
      await handle.close();
    }
  }
}

/** Opens the buckets of one server, by name. */
export async function openBuckets(
  directory: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, ObjectDirectory>> {
  const buckets = new Map<string, ObjectDirectory>();
  for (const name of names) buckets.set(name, await ObjectDirectory.open(path.join(directory, name)));
  return buckets;
}

/** The bytes of several uploads, one after the other. */
export async function* concatenated(uploads: readonly Upload[]): AsyncGenerator<Buffer> {
  for (const { file } of uploads) yield* createReadStream(file, { highWaterMark: WRITE_BYTES });
}

async function writeAll(handle: FileHandle, body: AsyncIterable<Buffer>): Promise<number> {
  let total = 0;
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  const flush = async () => {
    if (waitingBytes === 0) return;
    await handle.writev(waiting);
    waiting = [];
    waitingBytes = 0;
  };
  for await (const piece of body) {
    total += piece.length;
    waiting.push(piece);
    waitingBytes += piece.length;
    if (waitingBytes >= WRITE_BYTES) await flush();
  }
  await flush();
  return total;
}

async function appendRecord(upload: Upload, object: StoredObject): Promise<void> {
  const record = Buffer.from(JSON.stringify(object));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(record.length);
  const handle = await open(upload.file, "a");
  try {
    await handle.writev([record, length, FOOTER]);
  } finally {
    await handle.close();
  }
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function rollUp(key: string, prefix: string, delimiter: string | undefined): string | undefined {
  if (delimiter === undefined || delimiter === "") return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** After a page that ended with a common prefix, the next one skips all keys with that prefix. */
function isBehind(rolled: string, after: string | undefined): boolean {
  return after !== undefined && rolled <= after;
}
