import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { nowMs } from "../drill/clock.ts";
import { contentOf } from "./content.ts";
import { runJob } from "./job.ts";

export interface WriterTask {
  readonly dir: string;
  /** The prefix of its files' names. */
  readonly label: string;
  /** How many files it writes in parallel. */
  readonly atOnce: number;
  readonly pauseMs: number;
}

/** A write's beginning and its outcome, as the application sees them. */
export type WriterEvent =
  | { kind: "begun"; name: string; bytes: number; atMs: number }
  | { kind: "acknowledged"; name: string; atMs: number }
  | { kind: "failed"; name: string; code: string };

/** Small files are stored in the metadata, large ones as a block in the bucket. */
const SIZES = [700, 3_000, 20_000, 200_000];

/** Writes files until it is asked to finish. A file is acknowledged when its fsync and close have returned. */
runJob<WriterTask, WriterEvent>(async ({ dir, label, atOnce, pauseMs }, emit, finishing) => {
  await mkdir(dir, { recursive: true });
  const writeFiles = async (writer: number): Promise<void> => {
    for (let i = writer; !finishing.aborted; i += atOnce) {
      const name = `${label}-${i}`;
      const bytes = SIZES[(i >> 2) % SIZES.length]!;
      emit({ kind: "begun", name, bytes, atMs: nowMs() });
      emit(await write(dir, name, bytes));
      await delay(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, writer) => writeFiles(writer)));
});

async function write(dir: string, name: string, bytes: number): Promise<WriterEvent> {
  try {
    const file = await open(join(dir, name), "wx");
    await file.writeFile(contentOf(name, bytes));
    await file.sync();
    await file.close();
    return { kind: "acknowledged", name, atMs: nowMs() };
  } catch (error) {
    return { kind: "failed", name, code: String((error as NodeJS.ErrnoException).code) };
  }
}
