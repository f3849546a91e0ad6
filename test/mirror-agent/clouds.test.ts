import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startGcsServer } from "../../sandbox/gcs/server.ts";
import { startS3Server } from "../../sandbox/s3/server.ts";
import { S3_ACCOUNT, useGoogleKey, useS3Account } from "../object-store/harness.ts";
import { until } from "../support/until.ts";
import { World } from "./support/world.ts";

let directory: string;
let s3: Awaited<ReturnType<typeof startS3Server>>;
let gcs: Awaited<ReturnType<typeof startGcsServer>>;
let world: World | undefined;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "mirrorfs-clouds-"));
  useS3Account();
  const buckets = ["one", "two", "three", "four"].map((name) => `mirrorfs-${name}`);
  s3 = await startS3Server({ directory: path.join(directory, "s3"), buckets, ...S3_ACCOUNT });
  gcs = await startGcsServer({ directory: path.join(directory, "gcs"), buckets });
  useGoogleKey(directory, gcs.credentials);
});
afterEach(async () => {
  await world?.close();
  world = undefined;
  s3.faults.clear();
  gcs.faults.clear();
});
afterAll(async () => {
  await Promise.all([s3.stop(), gcs.stop()]);
  await rm(directory, { recursive: true, force: true });
});

const s3Url = (name: string) => `s3://mirrorfs-${name}?region=us-east-1&endpoint=${s3.endpoint}`;
const gsUrl = (name: string) => `gs://mirrorfs-${name}?endpoint=${gcs.endpoint}`;

test.each([
  ["s3 to gs", () => ({ source: s3Url("one"), target: gsUrl("one") })],
  ["gs to s3", () => ({ source: gsUrl("two"), target: s3Url("two") })],
  ["s3 to s3, inside the service", () => ({ source: s3Url("three"), target: s3Url("four") })],
  ["gs to gs, inside the service", () => ({ source: gsUrl("three"), target: gsUrl("four") })],
])("copies from %s, through what both services do wrong", async (name, urls) => {
  world = await World.open(urls());
  const slices = [...(await world.slices(30, 20_000)), await world.slice(9 * 1024 * 1024)];
  const inside = name.endsWith("inside the service");
  const ids = [s3, gcs].flatMap(({ faults }) => [
    faults.add({ fault: { kind: "unavailable" }, skip: 2, count: 3 }),
    faults.add({ fault: { kind: "wrongBytes" }, operation: "read", skip: 3, count: 2 }),
    faults.add({ fault: { kind: "cutBody", afterBytes: 1_000 }, operation: "read", skip: 7, count: 2 }),
    faults.add({ fault: { kind: "wrongBytes" }, operation: "create", skip: 5, count: 2 }),
    faults.add({ fault: { kind: "loseAnswer" }, operation: "create", skip: 9, count: 2 }),
  ]);
  world.metadata.add(slices);
  await world.agent();
  await until("resident", () => world!.metadata.pending.size === 0, 30_000);
  const hits = ids.map((id, index) => (index < ids.length / 2 ? s3 : gcs).faults.hits(id));
  expect(hits.filter((count) => count > 0).length, "the faults hit").toBeGreaterThanOrEqual(inside ? 1 : 6);
  for (const { faults } of [s3, gcs]) faults.clear();
  expect(world.metadata.resident.size).toBe(slices.length);
  await world.checkResident(slices);
});

test("a bucket cut off in the middle, and back", async () => {
  world = await World.open({ source: s3Url("one"), target: gsUrl("three") });
  const slices = await world.slices(60, 20_000);
  world.metadata.add(slices);
  await world.agent({ bytesPerSecond: 500_000, concurrency: 8 });
  await until("under way", () => world!.metadata.resident.size > 5);
  const cut = s3.faults.add({ fault: { kind: "refuse" } });
  await until("noticed", () => world!.log.some((line) => line.includes("does not answer")), 30_000);
  expect(world.metadata.pending.size).toBeGreaterThan(0);
  expect(s3.faults.hits(cut)).toBeGreaterThan(0);
  s3.faults.clear();
  await until("resident", () => world!.metadata.pending.size === 0, 30_000);
  await world.checkResident(slices);
});

test("reads of the source overlap: 400 slices at 80 ms a read take far less than one after another", async () => {
  world = await World.open({ source: s3Url("one"), target: gsUrl("four") });
  const slices = await world.slices(400, 60_000);
  s3.faults.add({ fault: { kind: "latency", ms: 80 }, operation: "read" });
  await world.agent();
  const begunMs = performance.now();
  world.metadata.add(slices);
  await until("resident", () => world!.metadata.pending.size === 0, 30_000);
  expect(performance.now() - begunMs).toBeLessThan((400 * 80) / 2);
});
