import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { RegionName } from "../layout.ts";
import { type DemoContext, finishAll, mountPath, type VolumeView } from "./context.ts";
import type { Job } from "./job.ts";
import { startJob } from "./job.ts";
import { LagMeter } from "./lag-meter.ts";
import { Oracle } from "./oracle.ts";
import { checkFiles, type Progress, startTraining } from "./training-part.ts";
import type { WriterEvent, WriterTask } from "./writer-job.ts";

const QUIET_MS = 3_000;
const SETTLE_MS_MAX = 30_000;
const WRITERS = 4;
const WRITER_PAUSE_MS = 15;
const SAMPLE_PAUSE_MS = 100;

/** What `mirrorfs promote --json` prints. */
interface Promotion {
  readonly tookMs: number;
  readonly report: {
    readonly fork: { readonly epoch: number; readonly sequence: number };
    readonly heard: { readonly epoch: number; readonly sequence: number };
    readonly files: readonly { readonly path: string }[];
  };
}

interface Running {
  readonly oracle: Oracle;
  readonly failures: string[];
  readonly jobs: Readonly<Record<RegionName, readonly Job[]>>;
  readonly training: Readonly<Record<RegionName, Progress>>;
  readonly meter: LagMeter;
}

/**
 * Use 4: with jobs running in both regions, kills a leader, switches the primary over, and destroys the whole primary
 * region.
 */
export async function failOver(context: DemoContext): Promise<void> {
  const { report } = context;
  report.part("4. Failover drill, with readers and writers running in both regions");
  const running = startJobs(context);
  await delay(QUIET_MS);
  await killLeader(context, running);
  await switchOver(context, running);
  report.figure(running.meter.text());
  await losePrimary(context, running);
}

function startJobs(context: DemoContext): Running {
  const oracle = new Oracle();
  const failures: string[] = [];
  const readers = { aws: startTraining(context, "aws", Infinity), gcp: startTraining(context, "gcp", Infinity) };
  const writer = (region: RegionName) => startWriter(context, region, oracle, failures);
  const meter = new LagMeter();
  void keepSampling(context, oracle, meter);
  return {
    oracle,
    failures,
    meter,
    jobs: { aws: [readers.aws.job, writer("aws")], gcp: [readers.gcp.job, writer("gcp")] },
    training: { aws: readers.aws.progress, gcp: readers.gcp.progress },
  };
}

function startWriter(context: DemoContext, region: RegionName, oracle: Oracle, failures: string[]): Job {
  const task: WriterTask = {
    dir: mountPath(context, region, "oracle"),
    label: region,
    atOnce: WRITERS,
    pauseMs: WRITER_PAUSE_MS,
  };
  const onEvent = (event: WriterEvent) => {
    if (event.kind === "acknowledged") oracle.acknowledge(event);
    else failures.push(`${event.name}: ${event.code}`);
  };
  return startJob<WriterTask, WriterEvent>(new URL("./writer-job.ts", import.meta.url), task, onEvent, context);
}

/**
 * Samples the primary's sequence continuously: a write acknowledged before a sample has a sequence up to the sampled
 * one.
 */
async function keepSampling(context: DemoContext, oracle: Oracle, meter: LagMeter): Promise<void> {
  while (!context.ending.aborted) {
    const askedMs = Date.now();
    const view = await context.view();
    const primary = view.regions[view.primary];
    if (primary?.leader && primary.role === "primary" && primary.sequence !== null) {
      oracle.sample({ askedMs, sequence: primary.sequence });
      meter.add(view);
    }
    await delay(SAMPLE_PAUSE_MS);
  }
}

async function killLeader(context: DemoContext, { oracle, failures }: Running): Promise<void> {
  const { report, cloud } = context;
  const view = await context.view();
  const leader = view.regions[view.primary]?.members.find((it) => it.leader);
  if (leader === undefined) throw new Error(`${view.primary} has no leader`);
  const name = `${view.primary}-meta-${leader.id}`;
  const killedMs = Date.now();
  const before = oracle.acknowledged.length;
  cloud.supervisor.kill(name);
  await delay(QUIET_MS);
  await waitFor(context, "all servers to be reachable again", (it) =>
    it.regions[view.primary]!.members.every((member) => member.reachable),
  );
  const pauseMs = oracle.longestPauseMs(killedMs, Date.now());
  report.figure(`kill -9 of the leader ${name}: longest pause between acknowledged writes ${pauseMs} ms`);
  report.check("leader killed: writers continued, no write failed", [
    ...failures,
    ...(oracle.acknowledged.length > before ? [] : ["no write was acknowledged afterwards"]),
  ]);
}

async function switchOver(context: DemoContext, { oracle, failures }: Running): Promise<void> {
  const { report } = context;
  const startedMs = Date.now();
  const answer: { tookMs: number; epoch: number } = JSON.parse(
    await context.mirrorfs("switchover", "--to", "gcp", "--json"),
  );
  await delay(QUIET_MS);
  const view = await waitFor(
    context,
    "the new roles to take effect",
    (it) => it.primary === "gcp" && it.regions.aws?.role === "mirror",
  );
  const pauseMs = oracle.longestPauseMs(startedMs, Date.now());
  report.figure(`switchover aws -> gcp: ${answer.tookMs} ms; longest pause between acknowledged writes ${pauseMs} ms`);
  report.check("switchover: gcp is the primary, no write failed", [
    ...failures,
    ...(view.epoch === answer.epoch ? [] : [`epoch ${view.epoch}, not ${answer.epoch}`]),
  ]);
}

async function losePrimary(context: DemoContext, running: Running): Promise<void> {
  const { report, cloud } = context;
  const { oracle, jobs, training } = running;
  await delay(QUIET_MS);
  for (const job of jobs.gcp) job.kill();
  await cloud.supervisor.cut(cloud.regionNames("gcp"));
  const killedMs = Date.now();
  report.figure(`kill -9 of everything in gcp, the primary: ${cloud.regionNames("gcp").length} processes and its jobs`);
  const read = training.aws.samples;
  const promotion: Promotion = JSON.parse(await context.mirrorfs("promote", "--region", "aws", "--force", "--json"));
  const { fork, heard, files } = promotion.report;
  await delay(2 * QUIET_MS);
  await finishAll(jobs.aws);

  const resumed = oracle.acknowledged.map((it) => it.atMs).filter((at) => at > killedMs);
  const rtoMs = Math.min(...resumed) - killedMs;
  report.figure(
    `promote --region aws --force: ${promotion.tookMs} ms; fork at sequence ${fork.sequence}, aws knew of ${heard.sequence}`,
  );
  report.figure(`loss report: ${files.length} files with blocks in no reachable bucket`);
  report.figure(`RTO: the first write was acknowledged ${rtoMs} ms after the loss of the primary`);
  report.check("the jobs in aws continued", [
    ...(resumed.length > 0 ? [] : ["no write was acknowledged afterwards"]),
    ...(training.aws.samples > read ? [] : ["no sample was read afterwards"]),
    ...running.failures,
  ]);
  report.check("no reader read a wrong byte", [...training.aws.wrong, ...training.gcp.wrong]);
  report.check("no reader in aws got an error", training.aws.errors);
  await checkAcknowledged(context, running, { fork: fork.sequence, killedMs, unreadable: files.map((it) => it.path) });
}

async function checkAcknowledged(
  context: DemoContext,
  { oracle }: Running,
  loss: { fork: number; killedMs: number; unreadable: readonly string[] },
): Promise<void> {
  const { report } = context;
  const files = oracle.acknowledged.map(({ name, bytes }) => ({ name, label: name, bytes }));
  const checked = await report.timed("reading all acknowledged writes", () =>
    checkFiles(context, mountPath(context, "aws", "oracle"), files),
  );
  const unreadable = new Set(loss.unreadable.map((path) => basename(path)));
  const verdict = oracle.judge(checked.result, loss.fork, loss.killedMs, unreadable);
  const rpoMs = Math.max(0, ...verdict.lost.map((it) => loss.killedMs - it.atMs));
  report.figure(`${files.length} acknowledged writes: ${verdict.right} intact, ${verdict.lost.length} lost`);
  report.figure(`RPO: ${rpoMs} ms (age of the oldest lost write when the primary failed)`);
  report.check(
    "every lost write is covered by the loss report; every other write is intact, byte for byte",
    verdict.violations,
  );
}

async function waitFor(context: DemoContext, what: string, holds: (view: VolumeView) => boolean): Promise<VolumeView> {
  const giveUpMs = Date.now() + SETTLE_MS_MAX;
  for (;;) {
    const view = await context.view();
    if (holds(view)) return view;
    if (Date.now() > giveUpMs) throw new Error(`waited ${SETTLE_MS_MAX / 1000} s for ${what}`);
    await delay(SAMPLE_PAUSE_MS);
  }
}
