import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { checkpointContent, SAMPLE_BYTES, sampleContent, shardPath, shuffled } from "./dataset.ts";
import { runJob } from "./job.ts";

export interface TrainingTask {
  readonly dataset: string;
  /** How many times to read the whole dataset; fewer when the job is asked to finish. */
  readonly epochs: number;
  /** Where to write a checkpoint every `everySteps` steps. */
  readonly checkpoints?: { readonly dir: string; readonly everySteps: number };
}

export type TrainingEvent =
  /** Samples read correctly since the last such event. */
  | { kind: "progress"; samples: number; epoch: number }
  | { kind: "wrong"; shard: number; sample: number }
  | { kind: "error"; shard: number; sample: number; code: string }
  | { kind: "checkpoint"; path: string; step: number };

const STEP_SAMPLES = 16;
const PROGRESS_STEPS = 8;

runJob<TrainingTask, TrainingEvent>(async ({ dataset, epochs, checkpoints }, emit, finishing) => {
  if (checkpoints !== undefined) await mkdir(checkpoints.dir, { recursive: true });
  const shards = new Shards(dataset);
  let step = 0;
  let unreported = 0;
  for (let epoch = 1; epoch <= epochs && !finishing.aborted; epoch++) {
    const order = shuffled();
    for (let at = 0; at < order.length && !finishing.aborted; at += STEP_SAMPLES) {
      const batch = order.slice(at, at + STEP_SAMPLES);
      const events = await Promise.all(batch.map(([shard, sample]) => shards.check(shard, sample)));
      for (const event of events) if (event !== undefined) emit(event);
      unreported += events.filter((event) => event === undefined).length;
      step += 1;
      if (step % PROGRESS_STEPS === 0) {
        emit({ kind: "progress", samples: unreported, epoch });
        unreported = 0;
      }
      if (checkpoints !== undefined && step % checkpoints.everySteps === 0) {
        emit({ kind: "checkpoint", path: await writeCheckpoint(checkpoints.dir, step), step });
      }
    }
  }
  emit({ kind: "progress", samples: unreported, epoch: epochs });
  await shards.close();
});

/** The dataset's files, kept open: a training job opens each once. */
class Shards {
  readonly #dir: string;
  readonly #files = new Map<number, Promise<FileHandle>>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Reads and checks one sample. @returns undefined if it is correct. */
  async check(shard: number, sample: number): Promise<TrainingEvent | undefined> {
    try {
      const file = await this.#open(shard);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(SAMPLE_BYTES), 0, SAMPLE_BYTES, sample * SAMPLE_BYTES);
      if (bytesRead === SAMPLE_BYTES && buffer.equals(sampleContent(shard, sample))) return undefined;
      return { kind: "wrong", shard, sample };
    } catch (error) {
      this.#files.delete(shard);
      return { kind: "error", shard, sample, code: String((error as NodeJS.ErrnoException).code) };
    }
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await (await file).close();
  }

  #open(shard: number): Promise<FileHandle> {
    const before = this.#files.get(shard);
    if (before !== undefined) return before;
    const opening = open(shardPath(this.#dir, shard));
    this.#files.set(shard, opening);
    return opening;
  }
}

/** Writes a temporary file, syncs it and renames it, as training frameworks do. */
async function writeCheckpoint(dir: string, step: number): Promise<string> {
  const path = join(dir, `step-${step}.ckpt`);
  const file = await open(`${path}.tmp`, "w");
  await file.writeFile(checkpointContent(step));
  await file.sync();
  await file.close();
  await rename(`${path}.tmp`, path);
  return path;
}
