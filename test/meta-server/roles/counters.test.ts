import { afterAll, beforeAll, expect, test } from "vitest";
import { epochNumber, idOrigin } from "../../../core/ids.ts";
import { asVersion } from "../../../proto/versions.ts";
import { TestVolume } from "../harness.ts";
import { outcomeOf, RawClient } from "../raw-client.ts";

const GRANT = 65_536;
const AT_ONCE = 512;
/** As many ids as an epoch has, less those that are held back for the time until the next one has begun. */
const IDS = 2 ** 30 - 2 ** 20;

let volume: TestVolume;
let client: RawClient;

beforeAll(async () => {
  volume = await TestVolume.create({ aws: 1 });
  await volume.start("aws");
  client = new RawClient((await volume.leader("aws", ({ role }) => role === "primary")).address);
  await client.open();
});

afterAll(async () => {
  client.close();
  await volume.close();
});

async function grant(): Promise<number> {
  const outcome = outcomeOf(await client.mutate({ kind: "grantSlices", count: GRANT }));
  if (!outcome.ok) throw new Error(outcome.error);
  return outcome.grant!.first;
}

test("an epoch whose ids are almost used up is followed by the next one, before a change fails", async () => {
  let last = 0;
  for (let left = IDS / GRANT; left > 0; left -= AT_ONCE) {
    const granted = await Promise.all(Array.from({ length: Math.min(AT_ONCE, left) }, grant));
    last = Math.max(last, ...granted);
  }
  expect(idOrigin(last).counter).toBe(IDS - GRANT + 1);
  await volume.leader("aws", ({ version }) => epochNumber(asVersion(version).epoch) === 2);
  const next = idOrigin(await grant());
  expect([epochNumber(next.epoch), next.counter]).toEqual([2, 1]);
  expect(idOrigin((await client.make(1, "after")).inode).epoch).toBe(next.epoch);
});
