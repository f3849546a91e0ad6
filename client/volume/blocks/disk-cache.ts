import { chmod, mkdir, readdir, readFile, rename, rm, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { crc32c } from "../../../base/crc32c.ts";
import { PRIVATE_DIRECTORY, PRIVATE_FILE } from "../../../base/private-files.ts";
import type { SliceId } from "../../../core/ids.ts";

export interface CachedBlock {
  readonly slice: SliceId;
  readonly index: number;
  readonly bytes: number;
  readonly crc32c: number;
}

/** With this many blocks being written no other is cached: the disk is slower than the network. */
const WRITING_MAX = 16;
const TEMPORARY = ".tmp";

/**
 * Blocks on the local disk; the least recently used ones are evicted beyond `bytesMax`. The name of a file states the
 * block and its checksum. A file is complete or absent; one that does not match its checksum is deleted and counts as
 * absent. The cache survives the process, and may be deleted at any time.
 */
export class DiskCache {
  readonly #directory: string;
  readonly #files: LRUCache<string, number>;
  #writing = 0;
  #temporaries = 0;

  private constructor(directory: string, bytesMax: number) {
    this.#directory = directory;
    this.#files = new LRUCache<string, number>({
      maxSize: Math.max(1, bytesMax),
      sizeCalculation: (bytes) => Math.max(1, bytes),
      dispose: (_, name, reason) => {
        if (reason === "evict") void unlink(this.#path(name)).catch(() => {});
      },
    });
  }

  /** Opens a cache with the files that an earlier process left there. Only their owner may read them from now on. */
  static async open(directory: string, bytesMax: number): Promise<DiskCache> {
    await mkdir(directory, { recursive: true, mode: PRIVATE_DIRECTORY });
    const cache = new DiskCache(directory, bytesMax);
    const found: { name: string; bytes: number; usedMs: number }[] = [];
    for (const folder of await readdir(directory)) {
      if (!/^[0-9a-f]{2}$/.test(folder)) continue;
      await chmod(join(directory, folder), PRIVATE_DIRECTORY);
      for (const name of await readdir(join(directory, folder))) {
        const path = join(directory, folder, name);
        if (name.endsWith(TEMPORARY)) await rm(path, { force: true });
        else {
          const { size, mtimeMs } = await stat(path);
          found.push({ name, bytes: size, usedMs: mtimeMs });
        }
      }
    }
    found.sort((a, b) => a.usedMs - b.usedMs);
    for (const { name, bytes } of found) cache.#files.set(name, bytes);
    return cache;
  }

  /** The block, verified; `undefined` when it is not cached. */
  async get(block: CachedBlock): Promise<Uint8Array | undefined> {
    const name = nameOf(block);
    if (this.#files.get(name) === undefined) return undefined;
    try {
      const data = await readFile(this.#path(name));
      if (data.length === block.bytes && crc32c(data) === block.crc32c) return data;
    } catch {
      // Another process may have deleted it.
    }
    this.#files.delete(name);
    await rm(this.#path(name), { force: true }).catch(() => {});
    return undefined;
  }

  /** Keeps a verified block. Never rejects: on a full disk nothing more is cached. */
  async put(block: CachedBlock, data: Uint8Array): Promise<void> {
    const name = nameOf(block);
    if (this.#writing >= WRITING_MAX || this.#files.has(name)) return;
    this.#writing += 1;
    // The caller transfers its memory to another thread before it is written.
    const copy = Buffer.from(data);
    const path = this.#path(name);
    const temporary = `${path}.${process.pid}-${++this.#temporaries}${TEMPORARY}`;
    try {
      await mkdir(join(this.#directory, folderOf(name)), { recursive: true, mode: PRIVATE_DIRECTORY });
      await writeFile(temporary, copy, { mode: PRIVATE_FILE });
      await rename(temporary, path);
      this.#files.set(name, copy.length);
    } catch {
      await rm(temporary, { force: true }).catch(() => {});
    } finally {
      this.#writing -= 1;
    }
  }

  #path(name: string): string {
    return join(this.#directory, folderOf(name), name);
  }
}

function nameOf(block: CachedBlock): string {
  return `${block.slice}-${block.index}-${block.bytes}-${block.crc32c.toString(16).padStart(8, "0")}`;
}

function folderOf(name: string): string {
  const slice = Number(name.slice(0, name.indexOf("-")));
  return (slice % 256).toString(16).padStart(2, "0");
}
