import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

export interface Selection {
  /** Names in the source directory to copy, with everything below them. */
  readonly entries: readonly string[];
  readonly files: number;
  readonly bytes: number;
  /** How many entries exceeded the limits. */
  readonly left: number;
}

export interface Limits {
  readonly files: number;
  readonly bytes: number;
  /** Per entry: a package that is one huge binary is a poor test of a file system. */
  readonly entryBytes: number;
  /** Excludes entries by name. */
  readonly without?: RegExp;
}

/** Selects entries of a directory to copy, in the order of their names, within the limits. */
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

/** Counts the files and links below a path, and the files' bytes. */
async function measure(path: string): Promise<{ files: number; bytes: number }> {
  const stat = await lstat(path);
  if (!stat.isDirectory()) return { files: 1, bytes: stat.isFile() ? stat.size : 0 };
  const parts = await Promise.all((await readdir(path)).map((name) => measure(join(path, name))));
  return parts.reduce((a, b) => ({ files: a.files + b.files, bytes: a.bytes + b.bytes }), { files: 0, bytes: 0 });
}
