import { createHash } from "node:crypto";
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { contentOf } from "./content.ts";
import { SHARDS, shardContent, shardPath } from "./dataset.ts";
import { runJob } from "./job.ts";

/** Writes one large file, or the whole dataset. */
export type FillTask = { kind: "large"; path: string; mib: number } | { kind: "dataset"; dir: string };
/** The SHA-256 of the large file, in hex. */
export type FillEvent = { sha256: string };

const MIB = 1024 * 1024;

runJob<FillTask, FillEvent>(async (task, emit) => {
  if (task.kind === "large") return emit({ sha256: await writeLarge(task.path, task.mib) });
  await mkdir(task.dir, { recursive: true });
  for (let shard = 0; shard < SHARDS; shard++) await write(shardPath(task.dir, shard), [shardContent(shard)]);
});

async function writeLarge(path: string, mib: number): Promise<string> {
  const hash = createHash("sha256");
  await mkdir(dirname(path), { recursive: true });
  await write(path, pieces(mib, hash));
  return hash.digest("hex");
}

function* pieces(mib: number, hash: ReturnType<typeof createHash>): Generator<Buffer> {
  for (let i = 0; i < mib; i++) {
    const piece = contentOf(`large ${i}`, MIB);
    hash.update(piece);
    yield piece;
  }
}

async function write(path: string, pieces: Iterable<Buffer>): Promise<void> {
  const file = await open(path, "w");
  for (const piece of pieces) await file.writeFile(piece);
  await file.sync();
  await file.close();
}
