import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { nowMs } from "../drill/clock.ts";
import { History, judgeLoss, type Loss } from "../drill/oracle.ts";
import type { RegionName } from "../layout.ts";
import type { CheckTask } from "./check-job.ts";
import { type DemoContext, finishAll, mountPath, type VolumeView } from "./context.ts";
import { type Copied, compareTree } from "./copy-part.ts";
import type { Job } from "./job.ts";
import { startJob } from "./job.ts";
import { LagMeter } from "./lag-meter.ts";
import { checkFiles, type Progress, readFiles, startTraining } from "./training-part.ts";
import type { WriterEvent, WriterTask } from "./writer-job.ts";

const QUIET_MS = 3_000;
const SETTLE_MS_MAX = 30_000;
const WRITERS = 4;
const WRITER_PAUSE_MS = 15;
const SAMPLE_PAUSE_MS = 100;
/** How old a write may be that is lost with the primary: the mirror is never further behind than this. */
const RPO_MS_MAX = 30_000;
const LOST_READ_MS_MAX = 1_000;
const REGIONS: readonly RegionName[] = ["aws", "gcp"];

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
  readonly history: History;
  readonly jobs: Readonly<Record<RegionName, readonly Job[]>>;
  readonly training: Readonly<Record<RegionName, Progress>>;
  readonly meter: LagMeter;
}

/**
 * Use 4: with jobs running in both regions, kills a leader, switches the primary over, and destroys the whole primary
 * region.
 */
export async function failOver(context: DemoContext, copied: Copied): Promise<void> {
  const { report } = context;
  report.part("4. Failover drill, with readers and writers running in both regions");
  const running = startJobs(context);
  await delay(QUIET_MS);
  await killLeader(context, running);
  await switchOver(context, running);
  report.figure(running.meter.text());
  await losePrimary(context, running);
  await compareTree(context, copied, { region: "aws", when: "after the loss of gcp" });
}

function startJobs(context: DemoContext): Running {
  const history = new History();
  const readers = { aws: startTraining(context, "aws", Infinity), gcp: startTraining(context, "gcp", Infinity) };
  const writer = (region: RegionName) => startWriter(context, region, history);
  const meter = new LagMeter();
  void keepSampling(context, meter);
  return {
    history,
    meter,
    jobs: { aws: [readers.aws.job, writer("aws")], gcp: [readers.gcp.job, writer("gcp")] },
    training: { aws: readers.aws.progress, gcp: readers.gcp.progress },
  };
}

function startWriter(context: DemoContext, region: RegionName, history: History): Job {
  const task: WriterTask = {
    dir: mountPath(context, region, "oracle"),
    label: region,
    atOnce: WRITERS,
    pauseMs: WRITER_PAUSE_MS,
  };
  const onEvent = (event: WriterEvent) => {
    if (event.kind === "begun") history.begin({ ...event, region, begunMs: event.atMs });
    else if (event.kind === "acknowledged") history.acknowledge(event.name, event.atMs);
    else history.fail(event.name, event.code);
  };
  return startJob<WriterTask, WriterEvent>(new URL("./writer-job.ts", import.meta.url), task, onEvent, context);
}

/** Samples the lag of the mirror as its servers report it: for the figures only, no check depends on it. */
async function keepSampling(context: DemoContext, meter: LagMeter): Promise<void> {
  while (!context.ending.aborted) {
    const view = await context.view();
    const primary = view.regions[view.primary];
    if (primary?.leader && primary.role === "primary" && primary.sequence !== null) meter.add(view);
    await delay(SAMPLE_PAUSE_MS);
  }
}

/**
 * Waits until writing goes on in every region: until a write that was begun after the event is acknowledged there.
 * @returns a line for each region in which none was, within `SETTLE_MS_MAX`.
 */
async function stalled(history: History, sinceMs: number, regions: readonly RegionName[] = REGIONS): Promise<string[]> {
  const giveUpMs = nowMs() + SETTLE_MS_MAX;
  const silent = () => regions.filter((region) => history.begunAfter(sinceMs, region).length === 0);
  while (silent().length > 0 && nowMs() < giveUpMs) await delay(SAMPLE_PAUSE_MS);
  return silent().map((region) => `no write that was begun afterwards was acknowledged in ${region}`);
}

async function killLeader(context: DemoContext, { history }: Running): Promise<void> {
  const { report, cloud } = context;
  const view = await context.view();
  const leader = view.regions[view.primary]?.members.find((it) => it.leader);
  if (leader === undefined) throw new Error(`${view.primary} has no leader`);
  const name = `${view.primary}-meta-${leader.id}`;
  const killedMs = nowMs();
  cloud.supervisor.kill(name);
  await delay(QUIET_MS);
  await waitFor(context, "all servers to be reachable again", (it) =>
    it.regions[view.primary]!.members.every((member) => member.reachable),
  );
  const silent = await stalled(history, killedMs);
  const pauseMs = Math.round(history.longestPauseMs(killedMs, nowMs()));
  report.figure(`kill -9 of the leader ${name}: longest pause between acknowledged writes ${pauseMs} ms`);
  report.check("leader killed: writers continued, no write failed", [...history.failures, ...silent]);
}

async function switchOver(context: DemoContext, { history }: Running): Promise<void> {
  const { report } = context;
  const startedMs = nowMs();
  const answer: { tookMs: number; epoch: number } = JSON.parse(
    await context.mirrorfs("switchover", "--to", "gcp", "--json"),
  );
  const endedMs = nowMs();
  await delay(QUIET_MS);
  const view = await waitFor(
    context,
    "the new roles to take effect",
    (it) => it.primary === "gcp" && it.regions.aws?.role === "mirror",
  );
  const silent = await stalled(history, endedMs);
  const pauseMs = Math.round(history.longestPauseMs(startedMs, nowMs()));
  report.figure(`switchover aws -> gcp: ${answer.tookMs} ms; longest pause between acknowledged writes ${pauseMs} ms`);
  report.check("switchover: gcp is the primary, no write failed", [
    ...history.failures,
    ...silent,
    ...(view.epoch === answer.epoch ? [] : [`epoch ${view.epoch}, not ${answer.epoch}`]),
  ]);
}

async function losePrimary(context: DemoContext, running: Running): Promise<void> {
  const { report, cloud } = context;
  const { history, jobs, training } = running;
  await delay(QUIET_MS);
  const begunMs = nowMs();
  for (const job of jobs.gcp) job.kill();
  await cloud.supervisor.cut(cloud.regionNames("gcp"));
  const loss: Loss = { region: "gcp", begunMs, reapedMs: nowMs(), rpoMsMax: RPO_MS_MAX };
  report.figure(`kill -9 of everything in gcp, the primary: ${cloud.regionNames("gcp").length} processes and its jobs`);
  const read = training.aws.samples;
  const promoted = await report.timed("promoting aws", () =>
    context.mirrorfs("promote", "--region", "aws", "--force", "--json"),
  );
  const promotion: Promotion = JSON.parse(promoted.result);
  const { fork, heard, files } = promotion.report;
  const silent = await stalled(history, loss.reapedMs, ["aws"]);
  await delay(2 * QUIET_MS);
  await report.timed("waiting for the jobs in aws to end", () => finishAll(jobs.aws));

  report.figure(
    `promote --region aws --force: ${promotion.tookMs} ms; fork at sequence ${fork.sequence}, aws knew of ${heard.sequence}`,
  );
  report.figure(`loss report: ${files.length} files with blocks that aws lacks and whose home region does not answer`);
  report.check("the jobs in aws continued", [
    ...silent,
    ...(training.aws.samples > read ? [] : ["no sample was read afterwards"]),
    ...history.failures,
  ]);
  report.check("no reader read a wrong byte", [...training.aws.wrong, ...training.gcp.wrong]);
  report.check("no reader in aws got an error", training.aws.errors);
  await checkAcknowledged(context, history, loss, new Set(files.map((it) => basename(it.path))));
}

async function checkAcknowledged(
  context: DemoContext,
  history: History,
  loss: Loss,
  reported: ReadonlySet<string>,
): Promise<void> {
  const { report } = context;
  const files = history.acknowledged.map(({ name, bytes }) => ({ name, label: name, bytes }));
  const checked = await report.timed("reading all acknowledged writes", () =>
    checkFiles(context, mountPath(context, "aws", "oracle"), files),
  );
  const { right, lost, rpoMs, rtoMs, violations } = judgeLoss(history, checked.result, loss, reported);
  report.figure(`${files.length} acknowledged writes: ${right} intact, ${lost.length} lost`);
  report.figure(`RPO: ${Math.round(rpoMs)} ms (age of the oldest lost write when the primary failed)`);
  report.figure(
    `RTO: ${Math.round(rtoMs ?? Number.NaN)} ms (until the first write that was begun after the failure was acknowledged)`,
  );
  report.check(
    `only the youngest writes are lost, none older than ${RPO_MS_MAX / 1000} s; every other write is intact, byte for byte`,
    violations,
  );
  await checkLostBytes(
    context,
    files.filter(({ name }) => checked.result.get(name) === "EIO"),
  );
}

/** The mount has found the lost region's bucket dead by now, so that no read waits for it. */
async function checkLostBytes(context: DemoContext, files: CheckTask["files"]): Promise<void> {
  const again = await readFiles(context, mountPath(context, "aws", "oracle"), files);
  const wrong = again.filter(({ found, tookMs }) => found !== "EIO" || tookMs > LOST_READ_MS_MAX);
  context.report.check(
    `bytes that no bucket has are an error within a second (${files.length} files)`,
    wrong.map(({ name, found, tookMs }) => `${name}: ${found} after ${Math.round(tookMs)} ms`),
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
