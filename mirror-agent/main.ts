/**
 * The mirror agent of a region: copies the blocks that the region's bucket lacks from the other regions' buckets, and deletes
 * garbage from its own. The metadata decides what is to be copied or deleted; agents share the work through a queue in Redis.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Logger } from "pino";
import { UserError } from "../base/user-error.ts";
import { pause } from "../base/waiting.ts";
import { membersOf, type VolumeDescription } from "../config/volume-description.ts";
import { decodeSlice, encodeSlice, newSlice } from "../core/codec.ts";
import type { Slice } from "../core/commands.ts";
import { FEATURE_LEVEL } from "../core/features.ts";
import type { RegionIndex, SliceId } from "../core/ids.ts";
import { claimBucket } from "../object-store/marker.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { openObjectStore } from "../object-store/open.ts";
import type { RegionsAnswer } from "../proto/generated/agent.ts";
import { Agent, type AgentCounts } from "./agent.ts";
import { createBudget } from "./budget.ts";
import { Collector } from "./collect.ts";
import { Copier } from "./copier.ts";
import { MetadataLink } from "./metadata-link.ts";
import { Plan } from "./plan.ts";
import { type CopyQueue, openCopyQueue, probeQueue, type RunningJob } from "./queue.ts";
import { messageOf, Reachability } from "./reachability.ts";
import { Reporter } from "./report.ts";

export interface RunAgentOptions {
  readonly volume: VolumeDescription;
  readonly region: string;
  readonly logger: Logger;
  /** Most blocks in flight; 64 by default: enough small blocks to hide a latency of 80 ms. `BYTES_IN_FLIGHT` bounds large ones. */
  readonly concurrency?: number;
  readonly bytesPerSecond?: number;
  /** The highest feature level that the agent knows, if not the program's. For tests of servers of several versions. */
  readonly supports?: number;
  readonly collectIntervalMs?: number;
  readonly statusIntervalMs?: number;
}

export interface RunningAgent {
  counts(): AgentCounts;
  stop(): Promise<void>;
}

const BLOCKS_IN_FLIGHT = 64;
const BYTES_IN_FLIGHT = 192 * 1024 * 1024;
const REDIS_WAIT_MS = 5_000;
const STOP_GRACE_MS = 5_000;

/**
 * Starts one agent of a region. Waits for the region's metadata; once started, it survives the loss of the metadata, of any
 * bucket and of Redis.
 * @throws UserError when the own bucket or Redis cannot be used.
 */
export async function runAgent(options: RunAgentOptions): Promise<RunningAgent> {
  const { volume, logger } = options;
  const region = volume.regions.get(options.region);
  if (region === undefined) throw new UserError(`volume ${volume.volume} has no region ${options.region}`, 2);
  const name = `${options.region}-${hostname()}-${randomUUID().slice(0, 8)}`;
  const bucket = openObjectStore(region.bucket);
  const link = new MetadataLink({
    members: membersOf(region).map(({ address }) => address),
    volume: volume.volume,
    agent: name,
    supports: options.supports ?? FEATURE_LEVEL,
    logger,
  });
  try {
    await checkBucket(bucket);
    await checkQueue(region.queue);
    const regions = await findRegions(link, logger);
    const foreign = await claimBucket(bucket, { volume: volume.volume, uuid: regions.uuid, region: options.region });
    if (foreign !== undefined) throw new UserError(foreign, 2);
    return start({ ...options, link, regions, bucket, queueUrl: region.queue });
  } catch (error) {
    link.close();
    await bucket.close();
    throw error;
  }
}

async function checkBucket(bucket: ObjectStore): Promise<void> {
  try {
    await bucket.probe();
  } catch (error) {
    // A failed probe names the bucket, the reason and the remedy.
    throw new UserError(messageOf(error), 1, { cause: error });
  }
}

async function checkQueue(url: string): Promise<void> {
  try {
    await probeQueue(url, REDIS_WAIT_MS);
  } catch (error) {
    const at = new URL(url).host;
    throw new UserError(
      `Redis at ${at} does not answer (${messageOf(error)}): start redis-server there, or correct "queue" in the volume file`,
      1,
      { cause: error },
    );
  }
}

/** Waits until the region's metadata answers: agents may start before it. */
async function findRegions(link: MetadataLink, logger: Logger): Promise<RegionsAnswer> {
  for (let attempt = 0; ; attempt++) {
    let reason = "the volume is not formatted yet";
    try {
      const regions = await link.regions();
      if (regions.uuid !== "") return regions;
    } catch (error) {
      reason = messageOf(error);
    }
    if (attempt % 10 === 3) logger.warn({ reason }, "waiting for the region's metadata");
    await pause(500);
  }
}

/** The options of a start, and what its checks found. */
interface Found extends RunAgentOptions {
  readonly link: MetadataLink;
  readonly regions: RegionsAnswer;
  readonly bucket: ObjectStore;
  readonly queueUrl: string;
}

function start(found: Found): RunningAgent {
  const { logger, link } = found;
  const stores = openStores(found);
  const plan = new Plan();
  const onBack = () => {
    plan.pathRestored(Date.now());
    agent.fill();
  };
  const reachability = new Reachability({ stores, logger, onBack });
  const reporter = new Reporter({
    send: (resident, failed) => link.reportResident(resident, failed),
    acknowledged: (slices) => agent.acknowledged(slices),
    logger,
  });
  const agent = new Agent({
    plan,
    copier: createCopier(found, stores, reachability),
    reporter,
    logger,
    decode: readSlice,
    rewalk: () => link.rewalk(),
    openQueue: (run) => openQueue(found, run),
  });
  const collector = createCollector(found, agent);
  const watching = link.watch({ walk: () => agent.walk(), batch: (batch) => agent.see(batch) });
  collector.start();
  const stopStatus = logStatus(agent, logger, found.statusIntervalMs ?? 10_000);
  let stopped: Promise<void> | undefined;
  return {
    counts: () => agent.counts(),
    stop: () => (stopped ??= stop()),
  };

  /** In this order: take no new work, end running copies or leave them to other agents, report, close all connections. */
  async function stop(): Promise<void> {
    stopStatus();
    collector.close();
    await agent.close(STOP_GRACE_MS);
    await reporter.close(STOP_GRACE_MS);
    link.close();
    await watching;
    reachability.close();
    await Promise.all([...stores.values()].map((store) => store.close()));
  }
}

function createCopier(found: Found, stores: Map<RegionIndex, ObjectStore>, reachability: Reachability): Copier {
  const blocks = blocksInFlight(found);
  const budget = createBudget({ blocks, bytes: BYTES_IN_FLIGHT, bytesPerSecond: found.bytesPerSecond });
  return new Copier({ volume: found.volume.volume, own: ownIndex(found), stores, reachability, budget });
}

function openQueue(found: Found, run: (job: RunningJob) => Promise<void>): CopyQueue {
  const { volume, region, regions, logger, queueUrl } = found;
  return openCopyQueue({
    url: queueUrl,
    name: `mirrorfs-${volume.volume}-${region}-${regions.uuid.slice(0, 8)}`,
    concurrency: blocksInFlight(found) * 2,
    encode: (slice) => encodeSlice(newSlice(slice)),
    decode: readSlice,
    logger,
    run,
    onConnection: (up) =>
      logger[up ? "info" : "warn"](
        { queue: new URL(queueUrl).host },
        up ? "Redis answers again" : "Redis does not answer: no job starts until it does",
      ),
  });
}

function createCollector({ volume, bucket, link, logger, collectIntervalMs }: Found, agent: Agent): Collector {
  return new Collector({
    volume: volume.volume,
    own: bucket,
    list: async (after, limit) => (await link.listGarbage(after, limit)).map(({ slice }) => readSlice(slice)),
    collected: (slices: readonly SliceId[]) => link.reportCollected(slices),
    listRevoked: (after, limit) => link.listRevoked(after, limit),
    swept: (firsts) => link.reportSwept(firsts),
    busy: () => agent.busy(),
    logger,
    intervalMs: collectIntervalMs,
  });
}

function blocksInFlight({ concurrency }: Found): number {
  return concurrency ?? BLOCKS_IN_FLIGHT;
}

function ownIndex({ regions }: Found): RegionIndex {
  return regions.own as RegionIndex;
}

function openStores(found: Found): Map<RegionIndex, ObjectStore> {
  const own = ownIndex(found);
  const stores = new Map<RegionIndex, ObjectStore>();
  for (const [index, name] of found.regions.regions.entries()) {
    const described = found.volume.regions.get(name);
    if (index === own) stores.set(own, found.bucket);
    else if (described !== undefined) stores.set(index as RegionIndex, openObjectStore(described.bucket));
    else found.logger.warn({ region: name }, "a region is missing in the volume file: no block is copied from it");
  }
  return stores;
}

function readSlice(bytes: Uint8Array): Slice {
  const { id, bytes: length, home, crc32c } = decodeSlice(bytes);
  return { id, bytes: length, home, crc32c };
}

/** Logs progress every `intervalMs` while slices are pending, and once more when the last is copied. @returns what stops it. */
function logStatus(agent: Agent, logger: Logger, intervalMs: number): () => void {
  let last = agent.counts();
  const timer = setInterval(() => {
    const counts = agent.counts();
    const bytes = counts.copiedBytes - last.copiedBytes;
    if (counts.pending > 0 || last.pending > 0)
      logger.info({ ...counts, bytesPerSecond: Math.round((bytes * 1000) / intervalMs) }, "copying");
    last = counts;
  }, intervalMs);
  return () => clearInterval(timer);
}
