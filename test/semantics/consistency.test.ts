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
  const world = await World.start(["aws", "gcp"]);
  stops.push(() => world.stop());
  const disk = await world.open("gcp", { consistency: "session" });
  for (let round = 0; round < 40; round++) {
    await disk.write("own", `round ${round}`.padEnd(10));
    expect(String(await disk.read("own"))).toBe(`round ${round}`.padEnd(10));
    await disk.mkdir(`d${round}`);
    expect((await disk.stat(`d${round}`)).kind).toBe("directory");
  }
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
