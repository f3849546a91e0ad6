import { basename, dirname } from "node:path";
import type { RegionName } from "../layout.ts";
import type { CheckEvent, CheckTask } from "./check-job.ts";
import { type DemoContext, mountPath } from "./context.ts";
import { CHECKPOINT_BYTES, SAMPLES, SHARDS } from "./dataset.ts";
import type { FillEvent, FillTask } from "./fill-job.ts";
import { type Job, runToEnd, startJob } from "./job.ts";
import type { TrainingEvent, TrainingTask } from "./training-job.ts";

const EPOCHS = 2;
const CHECKPOINT_STEPS = 200;

/** What a training job has reported so far. */
export interface Progress {
  samples: number;
  /** How long it ran; 0 while it is running. */
  seconds: number;
  readonly wrong: string[];
  readonly errors: string[];
}

/** Use 3: reads a dataset in both regions, writes checkpoints at the mirror, and reads them in the primary. */
export async function train(context: DemoContext): Promise<void> {
  const { report } = context;
  report.part("3. Cross-region training: readers in both regions, checkpoints written at the mirror");
  const dataset = mountPath(context, "aws", "dataset");
  const filled = await report.timed("writing the dataset", () => {
    const script = new URL("./fill-job.ts", import.meta.url);
    return runToEnd<FillTask, FillEvent>(script, { kind: "dataset", dir: dataset }, context);
  });
  report.figure(`${SHARDS} shards of ${SAMPLES} samples written in aws: ${filled.seconds.toFixed(1)} s`);

  const checkpoints: Promise<void>[] = [];
  const inAws = startTraining(context, "aws", EPOCHS);
  const inGcp = startTraining(context, "gcp", EPOCHS, (path, step) =>
    checkpoints.push(checkCheckpoint(context, path, step)),
  );
  await report.timed("training", async () => {
    await Promise.all([inAws.job.done, inGcp.job.done]);
    await Promise.all(checkpoints);
  });
  for (const [region, { progress }] of [
    ["aws", inAws],
    ["gcp", inGcp],
  ] as const) {
    const expected = EPOCHS * SHARDS * SAMPLES;
    report.figure(`${region}: ${progress.samples} samples, ${Math.round(progress.samples / progress.seconds)}/s`);
    const missing = progress.samples === expected ? [] : [`${progress.samples} of ${expected} samples`];
    report.check(`${region}: every sample of ${EPOCHS} epochs is correct`, [
      ...progress.wrong,
      ...progress.errors,
      ...missing,
    ]);
  }
  report.check("at least one checkpoint was written", checkpoints.length > 0 ? [] : ["there is none"]);
}

/** Starts a reader of the dataset in a region; with `onCheckpoint` it also writes checkpoints there. */
export function startTraining(
  context: DemoContext,
  region: RegionName,
  epochs: number,
  onCheckpoint?: (path: string, step: number) => void,
): { job: Job; progress: Progress } {
  const startedMs = performance.now();
  const progress: Progress = { samples: 0, seconds: 0, wrong: [], errors: [] };
  const task: TrainingTask = {
    dataset: mountPath(context, region, "dataset"),
    epochs,
    checkpoints:
      onCheckpoint === undefined
        ? undefined
        : { dir: mountPath(context, region, "checkpoints"), everySteps: CHECKPOINT_STEPS },
  };
  const onEvent = (event: TrainingEvent) => {
    if (event.kind === "progress") progress.samples += event.samples;
    else if (event.kind === "wrong") progress.wrong.push(`shard ${event.shard}, sample ${event.sample}: wrong bytes`);
    else if (event.kind === "error")
      progress.errors.push(`shard ${event.shard}, sample ${event.sample}: ${event.code}`);
    else onCheckpoint?.(event.path, event.step);
  };
  const job = startJob<TrainingTask, TrainingEvent>(
    new URL("./training-job.ts", import.meta.url),
    task,
    onEvent,
    context,
  );
  const ended = () => {
    progress.seconds = (performance.now() - startedMs) / 1_000;
  };
  job.done.then(ended, ended);
  return { job, progress };
}

/** Reads a checkpoint in the primary as soon as it has been written at the mirror. */
async function checkCheckpoint(context: DemoContext, path: string, step: number): Promise<void> {
  const name = basename(path);
  const startedMs = performance.now();
  const found = await checkFiles(context, mountPath(context, "aws", basename(dirname(path))), [
    { name, label: `checkpoint ${step}`, bytes: CHECKPOINT_BYTES },
  ]);
  const tookMs = Math.round(performance.now() - startedMs);
  const result = found.get(name) ?? "not read";
  context.report.check(
    `checkpoint of step ${step}, written in gcp, read in aws (${tookMs} ms)`,
    result === "right" ? [] : [result],
  );
}

/** Reads files in a child process. @returns "right", "wrong" or an error code for each, by name. */
export async function checkFiles(
  context: DemoContext,
  dir: string,
  files: CheckTask["files"],
): Promise<ReadonlyMap<string, string>> {
  const events = await readFiles(context, dir, files);
  return new Map(events.map(({ name, found }) => [name, found]));
}

/** As `checkFiles`, with how long each read took. */
export function readFiles(
  context: DemoContext,
  dir: string,
  files: CheckTask["files"],
): Promise<readonly CheckEvent[]> {
  const script = new URL("./check-job.ts", import.meta.url);
  return runToEnd<CheckTask, CheckEvent>(script, { dir, files }, context);
}
