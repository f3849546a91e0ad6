import { type Job, Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { Logger } from "pino";
import { backoffMs, pause } from "../base/waiting.ts";
import type { Slice } from "../core/commands.ts";
import type { SliceId } from "../core/ids.ts";
import { type CopyJob, slicesOfJob, URGENT_PRIORITY } from "./copy-job.ts";

/**
 * The region's jobs in Redis, through BullMQ: any agent's worker takes any job. Redis may lose everything: lost jobs are put in
 * again from the metadata, and a job that runs twice copies the same immutable blocks.
 */
export interface CopyQueue {
  /** Adds jobs; a job whose name is in the queue already is left as it is. Waits while Redis does not answer. */
  add(jobs: readonly CopyJob[]): Promise<void>;
  /** Gives jobs that still wait their new priority. */
  promote(jobs: readonly CopyJob[]): Promise<void>;
  /** The slices of all jobs that wait or run, at any agent. */
  held(): Promise<Set<SliceId>>;
  /** Takes no new jobs; waits up to `graceMs` for running ones, then leaves them to the other agents. */
  close(graceMs: number): Promise<void>;
}

export interface RunningJob {
  readonly slices: readonly Slice[];
  readonly check: boolean;
  readonly urgent: boolean;
}

export interface CopyQueueOptions {
  readonly url: string;
  /** Unique to the volume and the region: several may share a Redis. */
  readonly name: string;
  readonly concurrency: number;
  readonly logger: Logger;
  readonly encode: (slice: Slice) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => Slice;
  /** Runs a job. A throw means that this agent abandoned it. */
  readonly run: (job: RunningJob) => Promise<void>;
  /** Called when Redis stops answering, and when it answers again. */
  readonly onConnection?: (up: boolean) => void;
}

interface JobData {
  /** Each slice as `encode` makes it, in base64. */
  readonly slices: readonly string[];
  readonly check: boolean;
}

/** A job whose worker has not renewed its lock for this long runs again elsewhere: the worker died. */
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
    // A job does not fail because its workers died, however often: the plan counts failures.
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
        // Fails for a job that is running or finished by now: no need.
        await job?.changePriority({ priority }).catch(() => {});
      }
    },
    async held() {
      return new Set((await queue.getRanges([...HELD_STATES], 0, -1)).flatMap(slicesOfJob));
    },
    async close(graceMs) {
      // Without Redis the running jobs cannot be handed back: their locks expire.
      const closing = Promise.allSettled([worker.close(!connected()), queue.close()]);
      await Promise.race([closing, pause(graceMs)]);
      connections.close();
    },
  };
}

/** BullMQ's close waits for ever for a connection that is reconnecting: so the connections are made, and closed, here. */
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
      // Detects a half-open connection. Longer than the longest blocking read of a worker.
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
    // BullMQ duplicates a connection for its blocking reads.
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
    // BullMQ silently ignores the add of a job whose id it still has, finished jobs included.
    opts: { jobId: job.name, priority: job.priority, removeOnComplete: true, removeOnFail: true },
  };
}

async function runJob(options: CopyQueueOptions, job: Job<JobData>): Promise<void> {
  let slices: Slice[];
  try {
    slices = job.data.slices.map((slice) => options.decode(Buffer.from(slice, "base64")));
  } catch (error) {
    options.logger.error({ job: job.id, err: error }, "a job in Redis is unreadable: it was dropped");
    return;
  }
  await options.run({ slices, check: job.data.check, urgent: job.opts.priority === URGENT_PRIORITY });
}

/** Follows the events of the connection. @returns whether Redis answered last time. */
function listen(options: CopyQueueOptions, queue: Queue, worker: Worker): () => boolean {
  let up = true;
  const note = (isUp: boolean) => {
    if (up === isUp) return;
    up = isUp;
    options.onConnection?.(isUp);
  };
  worker.on("error", (error) => options.logger.debug({ err: error }, "queue worker"));
  worker.on("stalled", (id) => options.logger.info({ job: id }, "a worker died or hung: its job runs again"));
  queue.on("error", (error) => {
    if ("code" in error) note(false);
    options.logger.debug({ err: error }, "queue");
  });
  queue.on("ioredis:close", () => note(false));
  queue.getBackend().on("ready", () => note(true));
  return () => up;
}

/** Waits until Redis answers a PING, for at most `timeoutMs`. @throws the last error. */
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
