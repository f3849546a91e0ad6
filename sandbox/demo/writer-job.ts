import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { contentOf } from "./content.ts";
import { runJob } from "./job.ts";

export interface WriterTask {
  readonly dir: string;
  /** Of its files: which writer it is. */
  readonly label: string;
  readonly pauseMs: number;
}

/** Every write's end as the application sees it. */
export type WriterEvent =
  | { kind: "acknowledged"; name: string; label: string; bytes: number; startedMs: number; atMs: number }
  | { kind: "failed"; name: string; code: string; atMs: number };

/** Small ones travel in the metadata, large ones as a block in the bucket. */
const SIZES = [700, 3_000, 20_000, 200_000];

/** Writes files one after the other, each closed after fsync: when that has returned, it is acknowledged. */
runJob<WriterTask, WriterEvent>(async ({ dir, label, pauseMs }, tell, finishing) => {
  await mkdir(dir, { recursive: true });
  for (let i = 0; !finishing.aborted; i++) {
    const name = `${label}-${i}`;
    const bytes = SIZES[i % SIZES.length]!;
    const startedMs = Date.now();
    try {
      const file = await open(join(dir, name), "wx");
      await file.writeFile(contentOf(name, bytes));
      await file.sync();
      await file.close();
      tell({ kind: "acknowledged", name, label, bytes, startedMs, atMs: Date.now() });
    } catch (error) {
      tell({ kind: "failed", name, code: String((error as NodeJS.ErrnoException).code), atMs: Date.now() });
    }
    await delay(pauseMs);
  }
});
