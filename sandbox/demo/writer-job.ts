import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { contentOf } from "./content.ts";
import { runJob } from "./job.ts";

export interface WriterTask {
  readonly dir: string;
  /** Of its files: which writer it is. */
  readonly label: string;
  /** Files in the making at once. */
  readonly atOnce: number;
  readonly pauseMs: number;
}

/** Every write's end as the application sees it. */
export type WriterEvent =
  | { kind: "acknowledged"; name: string; bytes: number; atMs: number }
  | { kind: "failed"; name: string; code: string };

/** Small ones travel in the metadata, large ones as a block in the bucket. */
const SIZES = [700, 3_000, 20_000, 200_000];

/** Writes files, each closed after fsync: when that has returned, it is acknowledged. */
runJob<WriterTask, WriterEvent>(async ({ dir, label, atOnce, pauseMs }, tell, finishing) => {
  await mkdir(dir, { recursive: true });
  const writeOn = async (writer: number): Promise<void> => {
    for (let i = writer; !finishing.aborted; i += atOnce) {
      tell(await write(dir, `${label}-${i}`, SIZES[(i >> 2) % SIZES.length]!));
      await delay(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, writer) => writeOn(writer)));
});

async function write(dir: string, name: string, bytes: number): Promise<WriterEvent> {
  try {
    const file = await open(join(dir, name), "wx");
    await file.writeFile(contentOf(name, bytes));
    await file.sync();
    await file.close();
    return { kind: "acknowledged", name, bytes, atMs: Date.now() };
  } catch (error) {
    return { kind: "failed", name, code: String((error as NodeJS.ErrnoException).code) };
  }
}
