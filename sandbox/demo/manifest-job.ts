import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { runJob } from "./job.ts";
import type { Manifest, ManifestEntry } from "./manifest.ts";

export interface ManifestTask {
  readonly root: string;
  /** Names in the root; the root itself is not part of the manifest. */
  readonly entries: readonly string[];
  /** How many files are read in parallel. */
  readonly atOnce: number;
}

/**
 * Reads a tree. Each directory is kept open and its entries are accessed relative to it, as find(1), cp(1) and rm(1) do:
 * otherwise every access would resolve the whole path, and through a mirror's mount each component may cross the WAN.
 */
runJob<ManifestTask, Manifest>(async ({ root, entries, atOnce }, emit) => {
  const limit = pLimit(atOnce);
  const manifest = new Map<string, ManifestEntry>();
  const visit = async (directory: FileHandle, path: string, name: string): Promise<void> => {
    const at = `/proc/self/fd/${directory.fd}/${name}`;
    const entry = await limit(() => describe(at));
    manifest.set(path, entry);
    if (entry.kind !== "directory") return;
    const inside = await limit(() => open(at, constants.O_RDONLY | constants.O_DIRECTORY));
    const names = await limit(() => readdir(`/proc/self/fd/${inside.fd}`));
    await Promise.all(names.map((each) => visit(inside, join(path, each), each)));
    await inside.close();
  };
  const top = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  await Promise.all(entries.map((name) => visit(top, name, name)));
  await top.close();
  emit(manifest);
});

async function describe(path: string): Promise<ManifestEntry> {
  const stat = await lstat(path, { bigint: true });
  const kind = stat.isFile() ? "file" : stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "symlink" : "other";
  return {
    kind,
    mode: Number(stat.mode),
    bytes: kind === "file" ? Number(stat.size) : 0,
    mtimeNs: stat.mtimeNs,
    target: kind === "symlink" ? await readlink(path) : "",
    sha256: kind === "file" ? await hashOf(path) : "",
  };
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path, { highWaterMark: 256 * 1024 })) hash.update(piece);
  return hash.digest("hex");
}
