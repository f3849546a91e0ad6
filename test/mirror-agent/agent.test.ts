import { afterEach, beforeEach, expect, test } from "vitest";
import { until, World } from "./support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(async () => {
  await world.close();
});

test("copies all that is pending, and what becomes pending", async () => {
  const before = [...(await world.slices(40, 10_000)), ...(await world.slices(2, 9 * 1024 * 1024))];
  world.metadata.add(before);
  await world.agent();
  await until("the first are resident", () => world.metadata.pending.size === 0);
  const after = await world.slices(20, 5_000);
  world.metadata.add(after);
  await until("the new ones are resident", () => world.metadata.pending.size === 0);
  const all = [...before, ...after];
  expect(world.metadata.resident.size).toBe(all.length);
  await world.checkResident(all);
});
