import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { runJob } from "./job.ts";
import type { Manifest, ManifestEntry } from "./manifest.ts";

export interface ManifestTask {
  readonly root: string;
  /** Names in the root: it alone is not looked at. */
  readonly entries: readonly string[];
  /** Files looked at at once. */
  readonly atOnce: number;
}

runJob<ManifestTask, Manifest>(async ({ root, entries, atOnce }, tell) => {
  const limit = pLimit(atOnce);
  const manifest = new Map<string, ManifestEntry>();
  const visit = async (path: string): Promise<void> => {
    const entry = await limit(() => look(join(root, path)));
    manifest.set(path, entry);
    if (entry.kind !== "directory") return;
    const names = await limit(() => readdir(join(root, path)));
    await Promise.all(names.map((name) => visit(join(path, name))));
  };
  await Promise.all(entries.map(visit));
  tell(manifest);
});

async function look(path: string): Promise<ManifestEntry> {
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
