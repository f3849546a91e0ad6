import { type Job, Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { Logger } from "pino";
import { backoffMs, pause } from "../base/waiting.ts";
import type { Slice } from "../core/commands.ts";
import type { SliceId } from "../core/ids.ts";
import { type CopyJob, slicesOfJob, URGENT_PRIORITY } from "./copy-job.ts";

/**
 * The region's jobs in Redis, by BullMQ: any agent's worker takes any job. Redis holds no truth: whatever it loses is
 * put in again from the metadata, and a job that runs twice copies the same immutable blocks.
 */
export interface CopyQueue {
  /** Puts jobs in; one that is there already is left as it is. Waits while Redis is away. */
  add(jobs: readonly CopyJob[]): Promise<void>;
  /** To the front, where they still wait. */
  promote(jobs: readonly CopyJob[]): Promise<void>;
  /** All slices that wait or run, at any agent. */
  held(): Promise<Set<SliceId>>;
  /** Takes no more jobs; waits for those that run up to `graceMs`, then leaves them to the other agents. */
  close(graceMs: number): Promise<void>;
}

export interface RunningJob {
  readonly slices: readonly Slice[];
  readonly check: boolean;
  readonly urgent: boolean;
}

export interface CopyQueueOptions {
  readonly url: string;
  /** Must hold the volume and the region. */
  readonly name: string;
  readonly concurrency: number;
  readonly logger: Logger;
  readonly encode: (slice: Slice) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => Slice;
  /** Runs a job. A throw says that it was given up here, for another agent. */
  readonly run: (job: RunningJob) => Promise<void>;
  /** Redis went away, or is back. */
  readonly onConnection?: (up: boolean) => void;
}

interface JobData {
  /** core's encoding of each, base64. */
  readonly slices: readonly string[];
  readonly check: boolean;
}

/** A worker that died is noticed after this long, and its jobs run again elsewhere. */
const LOCK_MS = 6_000;
const STALLED_CHECK_MS = 3_000;
const HELD_STATES = ["prioritized", "active", "wait", "delayed"] as const;

export function openCopyQueue(options: CopyQueueOptions): CopyQueue {
  // BullMQ refuses a colon in a queue's name.
  const name = encodeURIComponent(options.name);
  const connections = new Connections(options.url);
  const queue = new Queue<JobData>(name, { connection: connections.open(), streams: { events: { maxLen: 100 } } });
  const worker = new Worker<JobData>(name, (job) => runJob(options, job), {
    connection: connections.open(),
    concurrency: options.concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    // However often its workers die, a job is not at fault: the plan counts failures.
    maxStalledCount: 1_000_000,
    runRetryDelay: 500,
    drainDelay: 2,
  });
  const connected = listen(options, queue, worker);
  return {
    async add(jobs) {
      if (jobs.length > 0) await queue.addBulk(jobs.map((job) => bulkJob(options, job)));
    },
    async promote(jobs) {
      for (const { name, priority } of jobs) {
        const job = await queue.getJob(name);
        // Running or finished by now: nothing to hurry.
        await job?.changePriority({ priority }).catch(() => {});
      }
    },
    async held() {
      return new Set((await queue.getRanges([...HELD_STATES], 0, -1)).flatMap(slicesOfJob));
    },
    async close(graceMs) {
      // Without Redis nothing can be handed back in order: its locks run out by themselves.
      const closing = Promise.allSettled([worker.close(!connected()), queue.close()]);
      await Promise.race([closing, pause(graceMs)]);
      connections.close();
    },
  };
}

/** BullMQ waits for ever for the end of a connection that is just being made again: so they are ended from here. */
class Connections {
  readonly #url: string;
  readonly #all: Redis[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  open(): Redis {
    const redis = new Redis(this.#url, {
      maxRetriesPerRequest: null,
      retryStrategy: (times) => backoffMs(times, 100, 2_000),
      // A half-open connection is found out. Longer than the longest blocking read of a worker.
      socketTimeout: 30_000,
      keepAlive: 10_000,
    });
    return this.#track(redis);
  }

  close(): void {
    for (const redis of this.#all) redis.disconnect();
  }

  #track(redis: Redis): Redis {
    redis.on("error", () => {});
    this.#all.push(redis);
    // BullMQ makes itself another one to wait on.
    const duplicate = redis.duplicate.bind(redis);
    redis.duplicate = (override) => this.#track(duplicate(override));
    return redis;
  }
}

function bulkJob(options: CopyQueueOptions, job: CopyJob) {
  const slices = job.slices.map((slice) => Buffer.from(options.encode(slice)).toString("base64"));
  return {
    name: "copy",
    data: { slices, check: job.check },
    // A finished job that is kept would swallow the next add of its id without a word.
    opts: { jobId: job.name, priority: job.priority, removeOnComplete: true, removeOnFail: true },
  };
}

async function runJob(options: CopyQueueOptions, job: Job<JobData>): Promise<void> {
  let slices: Slice[];
  try {
    slices = job.data.slices.map((slice) => options.decode(Buffer.from(slice, "base64")));
  } catch (error) {
    options.logger.error({ job: job.id, err: error }, "a job in Redis that cannot be read was dropped");
    return;
  }
  await options.run({ slices, check: job.data.check, urgent: job.opts.priority === URGENT_PRIORITY });
}

/** @returns whether Redis answers, as far as is known. */
function listen(options: CopyQueueOptions, queue: Queue, worker: Worker): () => boolean {
  let up = true;
  const turn = (now: boolean) => {
    if (up === now) return;
    up = now;
    options.onConnection?.(now);
  };
  worker.on("error", (error) => options.logger.debug({ err: error }, "queue worker"));
  worker.on("stalled", (id) => options.logger.info({ job: id }, "a worker died or hung: its job runs again"));
  queue.on("error", (error) => {
    if ("code" in error) turn(false);
    options.logger.debug({ err: error }, "queue");
  });
  queue.on("ioredis:close", () => turn(false));
  queue.getBackend().on("ready", () => turn(true));
  return () => up;
}

/** Asks Redis for a sign of life, for at most `timeoutMs`. @throws the last error. */
export async function probeQueue(url: string, timeoutMs: number): Promise<void> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const redis = new Redis(url, {
      lazyConnect: true,
      retryStrategy: () => null,
      connectTimeout: 2_000,
      commandTimeout: 2_000,
    });
    redis.on("error", () => {});
    try {
      await redis.connect();
      await redis.ping();
      return;
    } catch (error) {
      if (Date.now() >= until) throw error;
      await pause(200);
    } finally {
      redis.disconnect();
    }
  }
}
