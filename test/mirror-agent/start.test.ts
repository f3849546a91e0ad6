import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { UserError } from "../../base/user-error.ts";
import { markerKey } from "../../object-store/layout.ts";
import { until } from "../support/until.ts";
import { FakeMetadata } from "./support/metadata.ts";
import { VOLUME, World } from "./support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(async () => {
  await world.close();
});

async function refusal(): Promise<UserError> {
  const error = await world.agent().then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  expect(error.message).not.toContain("\n");
  return error;
}

test("A bucket that belongs to another volume or to another region is refused", async () => {
  const agent = await world.agent();
  const marker = JSON.parse(Buffer.from(await world.target.read(markerKey(VOLUME))).toString());
  expect(marker).toEqual({ uuid: world.metadata.uuid, region: "gcp" });
  await agent.stop();
  await (await world.agent()).stop();
  world.metadata.uuid = "another";
  const error = await refusal();
  expect(error.message).toContain(world.urls.target);
  expect(error.message).toContain("belongs to");
  expect(error.exitCode).toBe(2);
});

test("refuses to start without its bucket, and names it", async () => {
  await rm(`${world.directory}/target`, { recursive: true });
  const error = await refusal();
  expect(error.message).toContain(world.urls.target);
});

test("refuses to start without Redis, and names its address and the remedy", async () => {
  await world.redis.kill();
  const error = await refusal();
  expect(error.message).toContain(new URL(world.redis.url).host);
  expect(error.message).toContain("redis-server");
});

test("waits for metadata that starts later", async () => {
  const { address } = world.metadata;
  await world.metadata.stop();
  const later = new FakeMetadata({ regions: ["aws", "gcp"], own: 1 });
  later.address = address;
  const starting = world.agent();
  await new Promise((resolve) => setTimeout(resolve, 800));
  await later.start();
  try {
    const slices = await world.slices(2, 5_000);
    later.add(slices);
    await starting;
    await until("resident", () => later.pending.size === 0);
  } finally {
    await (await starting).stop();
    await later.stop();
  }
});

test("stops in bounded time while copies hang", async () => {
  const slices = await world.slices(20, 100_000);
  world.metadata.add(slices);
  const agent = await world.agent({ bytesPerSecond: 20_000 });
  await until("running", () => agent.counts().running > 0);
  const began = Date.now();
  await agent.stop();
  expect(Date.now() - began).toBeLessThan(25_000);
  await world.checkResident(slices);
  expect(Number(await world.redis.command("LLEN", "bull:mirrorfs-vol-gcp-5b2f6c1e:active")), "left to others").toBe(0);
});

test("stops in bounded time while Redis does not answer", async () => {
  world.metadata.add(await world.slices(20, 10_000));
  const agent = await world.agent({ bytesPerSecond: 50_000 });
  await until("running", () => agent.counts().running > 0);
  await world.redis.kill();
  const began = Date.now();
  await agent.stop();
  expect(Date.now() - began).toBeLessThan(25_000);
});
