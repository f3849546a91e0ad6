import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import type { Consistency } from "../../client/volume/metadata/read-policy.ts";
import { Router } from "../../client/volume/metadata/router.ts";
import { Freshness, Status } from "../../proto/generated/metadata.ts";
import { ScriptedServer } from "../client/support/scripted-server.ts";
import { describeVolume } from "../client/support/volume.ts";
import { World } from "../client/support/world.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

test("With consistency=session a mount reads its own writes and never goes back, without asking the primary", async () => {
  const world = await World.start(["aws", "gcp"], ["gcp"]);
  stops.push(() => world.stop());
  const primary = await world.open("aws");
  const disk = await world.open("gcp", { consistency: "session" });
  const link = world.link("gcp");
  const read = async (name: string) => String(await disk.read(name));
  await primary.write("theirs", "one");
  await expect.poll(() => read("theirs").catch(() => "")).toBe("one");

  // The mirror learns nothing more. The mount could ask the primary, which is within its own reach, and does not.
  link.partition();
  await primary.write("theirs", "two");
  for (let round = 0; round < 3; round++) expect(await read("theirs")).toBe("one");
  // What it writes goes to the primary; the mirror, asked for that, has to catch up first.
  await disk.write("own", "mine");
  const own = read("own");
  await new Promise((resolve) => setTimeout(resolve, 300));
  link.heal();
  expect(await own).toBe("mine");
  expect(await read("theirs")).toBe("two");

  // The mirror misses a change, and stops: the mount reads from the primary. When the mirror is back, it is behind that.
  link.partition();
  await primary.write("theirs", "three");
  expect(await read("theirs")).toBe("two");
  await world.stopServer("gcp");
  expect(await read("theirs")).toBe("three");
  await world.startServer("gcp");
  await expect.poll(() => disk.access.state.router.watched, { timeout: 20_000 }).toBe(true);
  const again = read("theirs");
  await new Promise((resolve) => setTimeout(resolve, 300));
  link.heal();
  expect(await again).toBe("three");
});

function router(consistency: Consistency, server: ScriptedServer, maxStalenessMs = 0): Router {
  const volume = describeVolume("/tmp", {});
  const regions = new Map([["gcp", { name: "gcp", meta: [server.address], bucket: "", queue: "" }]]);
  const made = new Router(
    {
      volume: { ...volume, regions, primary: "aws" },
      region: "gcp",
      consistency,
      maxStalenessMs,
      onPrimaryLoss: "serve",
      readTimeoutMs: 3_000,
      logger: pino({ level: "silent" }),
      hello: (seen, uuid) => ({ volume: "test", region: "gcp", client: "c", session: 0, seen, uuid, open: [] }),
    },
    { onInvalidations() {}, onCachesLost() {} },
  );
  stops.push(() => made.close());
  return made;
}

test("With consistency=bounded the primary is asked again once its last answer is older than maxStalenessMs", async () => {
  const server = await new ScriptedServer("gcp", "aws", () => ({ status: Status.OK })).start();
  stops.push(() => server.stop());
  const asked = async (consistency: Consistency, pausesMs: readonly number[]) => {
    const one = router(consistency, server, 400);
    server.requests.length = 0;
    for (const pauseMs of pausesMs) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      await one.read({ $case: "getAttributes", value: { inode: 1 } }, { freshness: "committed" });
    }
    return server.requests.map(({ freshness }) => freshness);
  };
  const { COMMITTED, TOKEN } = Freshness;
  expect(await asked("bounded", [0, 10, 450, 10])).toEqual([COMMITTED, TOKEN, COMMITTED, TOKEN]);
  expect(await asked("close-to-open", [0, 10])).toEqual([COMMITTED, COMMITTED]);
  expect(await asked("session", [0, 10])).toEqual([TOKEN, TOKEN]);
});
