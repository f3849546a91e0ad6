import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

export interface Selection {
  /** Names in the source directory that are copied whole. */
  readonly entries: readonly string[];
  readonly files: number;
  readonly bytes: number;
  /** Names that were left out, for the limits. */
  readonly left: number;
}

export interface Limits {
  readonly files: number;
  readonly bytes: number;
  /** Of one entry: a package that is one huge binary says little about a file system. */
  readonly entryBytes: number;
  /** Entries that are not taken, by name. */
  readonly without?: RegExp;
}

/** What of a directory is copied: its entries in the order of their names, as long as the limits hold. */
export async function select(source: string, limits: Limits): Promise<Selection> {
  const names = (await readdir(source)).filter((name) => !limits.without?.test(name)).sort();
  const entries: string[] = [];
  let files = 0;
  let bytes = 0;
  for (const name of names) {
    const size = await measure(join(source, name));
    if (files + size.files > limits.files || bytes + size.bytes > limits.bytes || size.bytes > limits.entryBytes)
      continue;
    entries.push(name);
    files += size.files;
    bytes += size.bytes;
  }
  return { entries, files, bytes, left: names.length - entries.length };
}

/** Files and links below a path, and the files' bytes. */
async function measure(path: string): Promise<{ files: number; bytes: number }> {
  const stat = await lstat(path);
  if (!stat.isDirectory()) return { files: 1, bytes: stat.isFile() ? stat.size : 0 };
  const parts = await Promise.all((await readdir(path)).map((name) => measure(join(path, name))));
  return parts.reduce((a, b) => ({ files: a.files + b.files, bytes: a.bytes + b.bytes }), { files: 0, bytes: 0 });
}
