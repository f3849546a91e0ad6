import { rename } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Slice } from "../../core/commands.ts";
import { blocksOf } from "../../mirror-agent/verify.ts";
import { until } from "../support/until.ts";
import { FakeMetadata } from "./support/metadata.ts";
import { breakBlock, VOLUME, World } from "./support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(async () => {
  await world.close();
});

const allResident = () => world.metadata.pending.size === 0;

async function expectAllArrived(slices: readonly Slice[]): Promise<void> {
  expect(world.metadata.pending.size).toBe(0);
  expect(world.metadata.resident.size).toBe(slices.length);
  await world.checkResident(slices);
}

test("copies all pending slices, and those that become pending later", async () => {
  const before = [...(await world.slices(40, 10_000)), ...(await world.slices(2, 9 * 1024 * 1024))];
  world.metadata.add(before);
  await world.agent();
  await until("the first are resident", allResident);
  const after = await world.slices(20, 5_000);
  world.metadata.add(after);
  await until("the new ones are resident", allResident);
  await expectAllArrived([...before, ...after]);
  expect(world.metadata.reports.length, "reported in batches").toBeLessThan(before.length);
});

test("blocks that exist already are verified and reported, not copied", async () => {
  const slices = await world.slices(10, 8_000);
  world.metadata.add(slices);
  const first = await world.agent();
  await until("resident", allResident);
  await first.stop();
  world.metadata.add(slices, { sinceMs: Date.now() - 3_600_000 });
  await rename(`${world.directory}/source`, `${world.directory}/elsewhere`);
  const second = await world.agent();
  await until("resident again, without the source", allResident);
  expect(second.counts().copiedBlocks).toBe(0);
});

test("a slice of which a reader missed a block is copied again", async () => {
  const [slice] = await world.slices(1, 8_000);
  world.metadata.add([slice!]);
  await world.agent();
  await until("resident", allResident);
  await world.target.delete(blocksOf(VOLUME, slice!)[0]!.key);
  world.metadata.add([slice!], { urgent: true });
  await until("resident again", allResident);
  expect(await world.arrived(slice!)).toBe(true);
});

test("an urgent slice goes before the backlog", async () => {
  const backlog = await world.slices(150, 100_000);
  const urgent = await world.slice(1_000);
  world.metadata.add(backlog, { sinceMs: Date.now() - 30_000 });
  world.metadata.add([urgent]);
  await world.agent({ bytesPerSecond: 1_000_000, concurrency: 4 });
  await until("the backlog is under way", () => world.metadata.resident.size > 5);
  expect(world.metadata.resident.has(urgent.id)).toBe(false);
  world.metadata.hurry(urgent.id);
  await until("the reader has it", () => world.metadata.resident.has(urgent.id), 5_000);
  expect(world.metadata.pending.size, "long before the backlog is done").toBeGreaterThan(50);
});

test("slices deleted before they were copied are not copied", async () => {
  const slices = await world.slices(60, 100_000);
  world.metadata.add(slices);
  const agent = await world.agent({ bytesPerSecond: 1_000_000, concurrency: 2 });
  await until("under way", () => world.metadata.resident.size > 0);
  const dropped = slices.filter((slice) => world.metadata.pending.has(slice.id)).slice(-20);
  for (const slice of dropped) world.metadata.drop(slice.id);
  await until("the rest is resident", allResident);
  expect(agent.counts().pending).toBe(0);
  for (const slice of dropped) expect(await world.arrived(slice)).toBe(false);
});

test("two agents share the work, and no block is copied twice", async () => {
  const slices = await world.slices(300, 20_000);
  const agents = await Promise.all([
    world.agent({ bytesPerSecond: 3_000_000 }),
    world.agent({ bytesPerSecond: 3_000_000 }),
  ]);
  world.metadata.add(slices);
  await until("resident", allResident);
  await expectAllArrived(slices);
  const copied = agents.map((agent) => agent.counts().copiedBlocks);
  expect(copied[0]! + copied[1]!).toBe(slices.length);
  expect(Math.min(...copied), "both worked").toBeGreaterThan(20);
});

test.each(["keeps its jobs", "is emptied"])(
  "an agent that is stopped and started again forgets nothing: Redis %s",
  async (how) => {
    const slices = await world.slices(80, 70_000);
    const first = await world.agent({ bytesPerSecond: 1_000_000, concurrency: 4 });
    world.metadata.add(slices);
    await until("under way", () => world.metadata.resident.size > 5);
    await first.stop();
    const left = world.metadata.pending.size;
    expect(left, "it was stopped in the middle").toBeGreaterThan(0);
    if (how === "is emptied") await world.redis.flush();
    await world.agent();
    await until("the rest is resident", allResident, 20_000);
    await expectAllArrived(slices);
  },
);

test("garbage is deleted from the own bucket and reported; nothing on a listing that failed", async () => {
  const slices = [...(await world.slices(5, 8_000)), await world.slice(9 * 1024 * 1024)];
  world.metadata.add(slices);
  await world.agent();
  await until("resident", allResident);
  const [kept, ...garbage] = slices;
  world.metadata.listFails = true;
  for (const slice of garbage) world.metadata.garbage.set(slice.id, slice);
  await new Promise((resolve) => setTimeout(resolve, 600));
  for (const slice of slices) expect(await world.arrived(slice)).toBe(true);
  world.metadata.listFails = false;
  await until("collected", () => world.metadata.collected.size === garbage.length);
  for (const slice of garbage)
    for (const block of blocksOf(VOLUME, slice)) {
      expect(await world.target.head(block.key)).toBeUndefined();
      expect(await world.source.head(block.key), "only the own bucket is its business").toBeDefined();
    }
  expect(await world.arrived(kept!)).toBe(true);
});

test("blocks stored under revoked ids are deleted from the own bucket, and no others", async () => {
  const before = await world.slice(8_000);
  const unnamed = await world.slice(5 * 1024 * 1024);
  const after = await world.slice(9);
  world.metadata.add([before, unnamed, after]);
  await world.agent();
  await until("resident", allResident);
  expect([unnamed.id, after.id]).toEqual([before.id + 1, before.id + 2]);
  world.metadata.revoked.set(unnamed.id, 1);
  world.metadata.revoked.set(after.id + 1, 3);
  await until("swept", () => world.metadata.revoked.size === 0);
  for (const block of blocksOf(VOLUME, unnamed)) expect(await world.target.head(block.key)).toBeUndefined();
  for (const kept of [before, after]) expect(await world.arrived(kept)).toBe(true);
});

test("ids stay revoked until their blocks are deleted, also when the bucket does not answer", async () => {
  const slice = await world.slice(8_000);
  world.metadata.add([slice]);
  await world.agent();
  await until("resident", allResident);
  await rename(path.join(world.directory, "target"), path.join(world.directory, "away"));
  world.metadata.revoked.set(slice.id, 1);
  await until("tried", () => world.log.some((line) => line.includes("left for the next round")));
  expect(world.metadata.revoked.size).toBe(1);
  await rename(path.join(world.directory, "away"), path.join(world.directory, "target"));
  await until("swept", () => world.metadata.revoked.size === 0);
  expect(await world.arrived(slice)).toBe(false);
});

test("garbage that a job still names is left for a later round", async () => {
  const slices = await world.slices(30, 100_000);
  world.metadata.add(slices);
  await world.agent({ bytesPerSecond: 1_000_000, concurrency: 1 });
  await until("under way", () => world.metadata.resident.size > 2);
  const queued = slices.filter((slice) => !world.metadata.resident.has(slice.id));
  expect(queued.length).toBeGreaterThan(0);
  for (const slice of queued) world.metadata.garbage.set(slice.id, slice);
  await until("all are copied and reported", allResident);
  await until("all are collected", () => world.metadata.garbage.size === 0);
  // A copy that ended after its slice had been collected would stay in the bucket for good.
  for (const slice of queued) expect(await world.arrived(slice)).toBe(false);
});

test("the leader is found among members that refuse in different ways, and again after it changed", async () => {
  const other = new FakeMetadata({ regions: ["aws", "gcp"], own: 1 });
  await other.start();
  try {
    other.refusal = "status";
    const members = [other.address, "127.0.0.1:1", world.metadata.address];
    const first = await world.slices(5, 8_000);
    world.metadata.add(first);
    await world.agent({ members });
    await until("resident", allResident);
    const second = await world.slices(5, 8_000);
    world.metadata.refusal = "answer";
    other.refusal = undefined;
    other.add(second);
    world.metadata.breakWatches();
    await until("the new leader has it", () => other.pending.size === 0);
    expect(other.resident.size).toBe(5);
  } finally {
    await other.stop();
  }
});

test("slices that became pending while the watch was broken are found by the next walk", async () => {
  await world.agent();
  await until("watching", () => world.metadata.walks === 1);
  const slices = await world.slices(10, 8_000);
  world.metadata.breakWatches();
  for (const slice of slices) world.metadata.pending.set(slice.id, { slice, sinceMs: Date.now(), urgent: false });
  await until("resident", allResident);
  await expectAllArrived(slices);
});

test("copies made while the metadata was down are reported when it is back", async () => {
  const slices = await world.slices(30, 30_000);
  world.metadata.add(slices);
  const agent = await world.agent({ bytesPerSecond: 500_000 });
  await until("under way", () => world.metadata.resident.size > 2);
  await world.metadata.stop();
  await until("copied, not reported", () => agent.counts().unreported > 5);
  const reported = world.metadata.resident.size;
  await world.metadata.start();
  await until("resident", allResident);
  expect(reported).toBeLessThan(slices.length);
  await expectAllArrived(slices);
});

test("one missing source block does not pin the rest, is shown, and heals", async () => {
  const slices = await world.slices(40, 8_000);
  const missing = slices[0]!;
  const [block] = blocksOf(VOLUME, missing);
  const body = await world.source.read(block!.key);
  await world.source.delete(block!.key);
  world.metadata.add(slices);
  const agent = await world.agent();
  await until("all the others are resident", () => world.metadata.pending.size === 1);
  await until("it is shown", () => world.metadata.failed.has(missing.id));
  expect(world.metadata.failed.get(missing.id)).toMatchObject({ parked: true, attempts: 1 });
  expect(world.metadata.failed.get(missing.id)!.reason).toContain(block!.key);
  await until("the agent has heard that its report was taken", () => agent.counts().pending < slices.length);
  expect(agent.counts()).toMatchObject({ pending: 1, parked: 1 });
  expect(world.metadata.resident.has(missing.id)).toBe(false);
  await world.source.create(block!.key, body, { crc32c: block!.crc32c });
  await until("it healed by itself", allResident);
  await expectAllArrived(slices);
});

test.each(["other bytes", "cut"] as const)("a source block with %s is never taken", async (how) => {
  const slices = [...(await world.slices(5, 8_000)), await world.slice(5 * 1024 * 1024)];
  const broken = slices.at(-1)!;
  await breakBlock(world.directory, blocksOf(VOLUME, broken)[1]!, how);
  world.metadata.add(slices);
  await world.agent();
  await until("the others are resident", () => world.metadata.pending.size === 1);
  await until("it is shown", () => world.metadata.failed.get(broken.id)?.parked === true);
  expect(world.metadata.resident.has(broken.id)).toBe(false);
  expect(await world.target.head(blocksOf(VOLUME, broken)[1]!.key)).toBeUndefined();
});

test.each(["source", "target"] as const)("the %s bucket is away, and comes back", async (which) => {
  const slices = await world.slices(120, 20_000);
  world.metadata.add(slices);
  await world.agent({ bytesPerSecond: 1_000_000 });
  await until("under way", () => world.metadata.resident.size > 5);
  await rename(`${world.directory}/${which}`, `${world.directory}/away`);
  await until("noticed", () => world.log.some((line) => line.includes("does not answer")));
  const then = world.metadata.resident.size;
  expect(then, "it went away in the middle").toBeLessThan(slices.length);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(world.metadata.pending.size, "the rest is still pending").toBe(slices.length - world.metadata.resident.size);
  expect(world.metadata.pending.size).toBeGreaterThan(0);
  await rename(`${world.directory}/away`, `${world.directory}/${which}`);
  await until("resident", allResident);
  await expectAllArrived(slices);
});
