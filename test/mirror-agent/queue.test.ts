import { randomUUID } from "node:crypto";
import pino from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { decodeSlice, encodeSlice, newSlice } from "../../core/codec.ts";
import type { Slice } from "../../core/commands.ts";
import type { RegionIndex, SliceId } from "../../core/ids.ts";
import { type CopyJob, jobName } from "../../mirror-agent/copy-job.ts";
import { type CopyQueue, openCopyQueue } from "../../mirror-agent/queue.ts";
import { until } from "../support/until.ts";
import { World } from "./support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(async () => {
  await world.close();
});

const allResident = () => world.metadata.pending.size === 0;
const REDIS_KEYS = "bull:mirrorfs-vol-gcp-5b2f6c1e";

function open(run: (slice: Slice) => Promise<void>, concurrency = 1): CopyQueue {
  return openCopyQueue({
    url: world.redis.url,
    name: `queue-${randomUUID()}`,
    concurrency,
    logger: pino({ level: "silent" }),
    encode: (slice) => encodeSlice(newSlice(slice)),
    decode: decodeSlice,
    run: ({ slices }) => run(slices[0]!),
  });
}

function job(id: number, priority = 5): CopyJob {
  const slice = { id: id as SliceId, bytes: 1, home: 0 as RegionIndex, crc32c: [7] };
  return { name: jobName([slice.id], 0), slices: [slice], priority, check: false };
}

test("a job runs once however often it is added, and again when it is added after it ended, well or badly", async () => {
  let release: () => void = () => {};
  const runs: number[] = [];
  const queue = open(async (slice) => {
    runs.push(slice.id);
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    if (runs.length === 2) throw new Error("badly");
  });
  for (let round = 1; round <= 4; round++) {
    await queue.add([job(1), job(1)]);
    await until("it runs", () => runs.length === round, 10_000);
    await queue.add([job(1)]);
    expect(await queue.held()).toEqual(new Set([1]));
    release();
    await until("it ended", async () => (await queue.held()).size === 0);
  }
  expect(runs).toEqual([1, 1, 1, 1]);
  await queue.close(1_000);
});

test("runs jobs by priority, a promoted one next", async () => {
  const order: number[] = [];
  let open_: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open_ = resolve;
  });
  const queue = open(async (slice) => {
    await gate;
    order.push(slice.id);
  });
  await queue.add([job(9)]);
  await until("the worker is taken", async () => (await world.redis.command("KEYS", "*:lock")) !== undefined);
  await queue.add([job(1, 50), job(2, 40), job(3, 60), job(4, 30)]);
  await queue.promote([job(3, 1)]);
  open_();
  await until("all ran", () => order.length === 5);
  expect(order.filter((id) => id !== 9)).toEqual([3, 4, 2, 1]);
  await queue.close(1_000);
});

test("Redis may lose everything at any time: the queue is filled again from the metadata, and all is copied", async () => {
  const slices = await world.slices(60, 66_000);
  world.metadata.add(slices);
  await world.agent({ bytesPerSecond: 1_000_000, concurrency: 4 });
  await until("under way", () => world.metadata.resident.size > 5);
  expect(Number(await world.redis.command("ZCARD", `${REDIS_KEYS}:prioritized`))).toBeGreaterThan(20);
  await world.redis.flush();
  await until(
    "filled again",
    async () => Number(await world.redis.command("ZCARD", `${REDIS_KEYS}:prioritized`)) > 20,
    6_000,
  );
  await until("resident", allResident);
  await world.checkResident(slices);
});

test("Redis is killed and comes back empty: the agent continues", async () => {
  const slices = await world.slices(60, 66_000);
  world.metadata.add(slices);
  await world.agent({ bytesPerSecond: 1_000_000, concurrency: 4 });
  await until("under way", () => world.metadata.resident.size > 5);
  const waiting = Number(await world.redis.command("ZCARD", `${REDIS_KEYS}:prioritized`));
  expect(waiting, "the kill hits waiting jobs").toBeGreaterThan(20);
  await world.redis.kill();
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const more = await world.slices(20, 5_000);
  world.metadata.add(more);
  await world.redis.start();
  await until("resident", allResident);
  await world.checkResident([...slices, ...more]);
  expect(world.log.filter((line) => line.includes("Redis does not answer"))).toHaveLength(1);
  expect(world.log.filter((line) => line.includes("Redis answers again"))).toHaveLength(1);
});

test("a leftover of a job in Redis swallows its id, not its slice", async () => {
  const slices = await world.slices(3, 80_000);
  await world.redis.command("HSET", `${REDIS_KEYS}:s-${slices[1]!.id}-0`, "name", "copy");
  world.metadata.add(slices);
  await world.agent();
  await until("the others are resident", () => world.metadata.pending.size === 1);
  await until("this one too", allResident);
  await world.checkResident(slices);
});

test("an agent killed in mid-copy: its jobs run again elsewhere, and the result is right", async () => {
  const slices = [...(await world.slices(20, 8_000)), ...(await world.slices(3, 12 * 1024 * 1024))];
  world.metadata.add(slices);
  const killed = world.agentProcess({ bytesPerSecond: 4_000_000 });
  await until("under way", () => world.metadata.resident.size > 3);
  const survivor = await world.agent();
  expect(
    Number(await world.redis.command("LLEN", `${REDIS_KEYS}:active`)),
    "the kill hits a running job",
  ).toBeGreaterThan(0);
  killed.kill();
  await killed.ended;
  const left = world.metadata.pending.size;
  expect(left).toBeGreaterThan(0);
  await until("resident", allResident, 25_000);
  expect(survivor.counts().copiedBlocks).toBeGreaterThan(0);
  await world.checkResident(slices);
  expect(world.metadata.resident.size).toBe(slices.length);
});
