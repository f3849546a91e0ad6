import { randomUUID } from "node:crypto";
import type { Dirent } from "node:fs";
import { type FileHandle, mkdir, open, readdir, stat, unlink } from "node:fs/promises";
import path from "node:path";
import { crc32c } from "../base/crc32c.ts";
import { PRIVATE_DIRECTORY, PRIVATE_FILE } from "../base/private-files.ts";
import { confirmExisting } from "./confirm.ts";
import { FileNames, hasCode } from "./file-names.ts";
import { readFully, readTrailer, TRAILER_BYTES, writeWithTrailer } from "./file-trailer.ts";
import type { ObjectStoreErrorCode } from "./object-store.ts";
import { type ListedObject, type ObjectHead, type ObjectStore, ObjectStoreError } from "./object-store.ts";
import { probeError } from "./probe-error.ts";

/** The directory of uploads under way. Files that a crash leaves here are never listed. */
const TEMPORARY = ".uploading";

/** A directory as a bucket, on a shared file system or for one machine. An object is a file whose path is its key. */
export class FileObjectStore implements ObjectStore {
  readonly url: string;
  readonly #root: string;
  readonly #names: FileNames;
  readonly #running = new Set<Promise<unknown>>();

  constructor(where: { url: string; directory: string }) {
    this.url = where.url;
    this.#root = path.resolve(where.directory);
    this.#names = new FileNames(this.#root);
  }

  async create(key: string, body: Uint8Array, options: { crc32c: number; signal?: AbortSignal }) {
    return this.#translate(`create ${key}`, options.signal, async () => {
      if (crc32c(body) !== options.crc32c) {
        throw new ObjectStoreError("corrupt", `${this.url}: create ${key}: the bytes do not match the checksum given`);
      }
      const target = this.#path(key);
      const temporary = path.join(this.#root, TEMPORARY, randomUUID());
      try {
        await this.#store(temporary, body, options);
        await this.#names.link(temporary, target);
      } catch (error) {
        if (!hasCode(error, "EEXIST")) throw error;
        await this.#names.sync(target); // its creator may still be about to
        return await confirmExisting(this, key, { bytes: body.length, ...options });
      } finally {
        await unlink(temporary).catch(() => {});
      }
      await this.#names.sync(target);
      return "created" as const;
    });
  }

  async read(key: string, options: { offset?: number; length?: number; into?: Uint8Array; signal?: AbortSignal } = {}) {
    return this.#translate(`read ${key}`, options.signal, () =>
      this.#withFile(key, async (file) => {
        const stored = await this.#trailer(file, key);
        const offset = options.offset ?? 0;
        const length = options.length ?? stored.bytes - offset;
        if (length < 0 || offset + length > stored.bytes) {
          throw new ObjectStoreError("range", `${this.url}: read ${key}: ${offset}+${length} of ${stored.bytes} bytes`);
        }
        const bytes = await readFully(file, offset, length, options.into);
        if (length === stored.bytes && crc32c(bytes) !== stored.crc32c) throw this.#corrupt(key, "checksum");
        return bytes;
      }),
    );
  }

  async head(key: string, options: { signal?: AbortSignal } = {}): Promise<ObjectHead | undefined> {
    try {
      return await this.#translate(`head ${key}`, options.signal, () =>
        this.#withFile(key, (file) => this.#trailer(file, key)),
      );
    } catch (error) {
      if (error instanceof ObjectStoreError && error.code === "notFound") return undefined;
      throw error;
    }
  }

  async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#translate(`delete ${key}`, options.signal, async () => {
      const target = this.#path(key);
      try {
        await unlink(target);
      } catch (error) {
        if (hasCode(error, "ENOENT", "ENOTDIR")) return;
        throw error;
      }
      await this.#names.removeEmptyParents(target);
    });
  }

  async *list(prefix: string, options: { after?: string; signal?: AbortSignal } = {}): AsyncIterable<ListedObject> {
    yield* this.#walk("", prefix, options);
  }

  async probe(options: { signal?: AbortSignal } = {}): Promise<void> {
    try {
      await this.#translate("probe", options.signal, async () => {
        const found = await stat(this.#root);
        if (!found.isDirectory()) throw new ObjectStoreError("noBucket", `${this.url}: not a directory`);
        const temporary = path.join(this.#root, TEMPORARY);
        await mkdir(temporary, { recursive: true, mode: PRIVATE_DIRECTORY });
        const trial = path.join(temporary, randomUUID());
        await (await open(trial, "wx", PRIVATE_FILE)).close();
        await unlink(trial);
      });
    } catch (error) {
      throw probeError(this.url, error as ObjectStoreError, "check the owner and mode of the directory");
    }
  }

  /** Waits for all operations, those that their callers aborted included: nothing touches the directory afterwards. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** Walks the directories in the order of keys: a directory sorts as its name with a slash. */
  async *#walk(
    directory: string,
    prefix: string,
    options: { after?: string; signal?: AbortSignal },
  ): AsyncIterable<ListedObject> {
    const entries = await this.#translate(`list ${prefix}`, options.signal, () => this.#entries(directory));
    for (const entry of entries) {
      if (!overlaps(entry.key, prefix) || isPast(entry.key, options.after)) continue;
      if (entry.key.endsWith("/")) {
        yield* this.#walk(entry.key, prefix, options);
        continue;
      }
      const bytes = entry.key.startsWith(prefix) ? await this.#listedBytes(entry.key) : undefined;
      if (bytes !== undefined) yield { key: entry.key, bytes };
    }
  }

  /** The length of the body by the file's size, so that a truncated file is listed too. undefined: deleted meanwhile. */
  async #listedBytes(key: string): Promise<number | undefined> {
    try {
      return Math.max(0, (await stat(this.#path(key))).size - TRAILER_BYTES);
    } catch (error) {
      if (hasCode(error, "ENOENT")) return undefined;
      throw await this.#fromSystemError(error, `list ${key}`);
    }
  }

  async #entries(directory: string): Promise<{ key: string }[]> {
    let entries: Dirent[];
    try {
      entries = await readdir(path.join(this.#root, directory), { withFileTypes: true });
    } catch (error) {
      // The delete of its last object removed the directory meanwhile; the bucket itself must exist.
      if (directory !== "" && hasCode(error, "ENOENT")) return [];
      throw error;
    }
    return entries
      .filter((entry) => directory !== "" || entry.name !== TEMPORARY)
      .map((entry) => ({ key: directory + entry.name + (entry.isDirectory() ? "/" : "") }))
      .sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  }

  async #store(temporary: string, body: Uint8Array, options: { crc32c: number; signal?: AbortSignal }): Promise<void> {
    const file = await this.#openTemporary(temporary);
    try {
      await writeWithTrailer(file, body, options);
    } finally {
      await file.close();
    }
  }

  async #openTemporary(temporary: string): Promise<FileHandle> {
    try {
      return await open(temporary, "wx", PRIVATE_FILE);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      await stat(this.#root); // never creates the bucket itself: its file system may just not be mounted
      await mkdir(path.dirname(temporary), { recursive: true, mode: PRIVATE_DIRECTORY });
      return open(temporary, "wx", PRIVATE_FILE);
    }
  }

  async #withFile<T>(key: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
    const file = await open(this.#path(key), "r");
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }

  async #trailer(file: FileHandle, key: string): Promise<{ bytes: number; crc32c: number }> {
    const found = await file.stat();
    if (found.isDirectory()) throw new ObjectStoreError("notFound", `${this.url}: ${key} does not exist`);
    const trailer = await readTrailer(file, found.size);
    if (trailer === undefined) throw this.#corrupt(key, "cut");
    return trailer;
  }

  #path(key: string): string {
    const parts = key.split("/");
    const bad = parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"));
    if (bad || parts[0] === TEMPORARY) throw new TypeError(`no file can have the key ${JSON.stringify(key)}`);
    return path.join(this.#root, ...parts);
  }

  #corrupt(key: string, why: "cut" | "checksum"): ObjectStoreError {
    const text =
      why === "cut" ? "the file is truncated, or was not written by mirrorfs" : "the bytes do not match their checksum";
    return new ObjectStoreError("corrupt", `${this.url}: ${key}: ${text}`);
  }

  async #translate<T>(what: string, signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
    let running: Promise<T> | undefined;
    try {
      signal?.throwIfAborted();
      running = run();
      this.#running.add(running);
      return await running;
    } catch (error) {
      if (signal?.aborted)
        throw new ObjectStoreError("aborted", `${this.url}: ${what}: aborted by the caller`, { cause: error });
      if (error instanceof ObjectStoreError || error instanceof TypeError) throw error;
      throw await this.#fromSystemError(error, what);
    } finally {
      if (running !== undefined) this.#running.delete(running);
    }
  }

  async #fromSystemError(error: unknown, what: string): Promise<ObjectStoreError> {
    const systemCode = (error as NodeJS.ErrnoException).code ?? "";
    let code: ObjectStoreErrorCode = Object.hasOwn(BY_ERRNO, systemCode) ? BY_ERRNO[systemCode]! : "unavailable";
    if (
      code === "notFound" &&
      !(await stat(this.#root).then(
        () => true,
        () => false,
      ))
    )
      code = "noBucket";
    return new ObjectStoreError(code, `${this.url}: ${what}: ${(error as Error).message}`, { cause: error });
  }
}

const BY_ERRNO: Readonly<Record<string, ObjectStoreErrorCode>> = {
  ENOENT: "notFound",
  ENOTDIR: "notFound",
  EISDIR: "notFound",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  ENOSPC: "full",
  EDQUOT: "full",
  EFBIG: "full",
};

/** Whether a key, or a key inside a directory ("a/b/"), can begin with the prefix. */
function overlaps(key: string, prefix: string): boolean {
  return key.startsWith(prefix) || (key.endsWith("/") && prefix.startsWith(key));
}

/** Whether a key, and for a directory every key in it, sorts before or at `after`. */
function isPast(key: string, after: string | undefined): boolean {
  if (after === undefined) return false;
  if (key.endsWith("/") && after.startsWith(key)) return false;
  return Buffer.compare(Buffer.from(key), Buffer.from(after)) <= 0;
}
