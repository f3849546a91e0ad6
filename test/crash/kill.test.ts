import { afterEach, expect, test } from "vitest";
import { CrashCluster } from "./cluster.ts";
import { Load } from "./load.ts";

const IN_FLIGHT = 64;
const TEST_MS = 300_000;
const PROGRESS = 300;

let cluster: CrashCluster;
let load: Load;

afterEach(async () => {
  load.close();
  await cluster.close();
});

test(
  "What was acknowledged is there after a restart of every server: killed under load, and each change is there once",
  async () => {
    cluster = await CrashCluster.create();
    cluster.start(...cluster.members);
    load = new Load(() => cluster.leader());
    const rounds = Number(process.env.CRASH_ROUNDS ?? 3);
    for (let round = 0; round < rounds; round += 1) {
      load.start(IN_FLIGHT);
      await load.progress(PROGRESS);
      const { member: leader } = await cluster.leader();
      const victims = [[leader], [(leader % 3) + 1], cluster.members][round % 3]!;
      const inFlight = load.inFlight;
      await cluster.kill(...victims);
      expect(inFlight, `round ${round}: the kill hit nothing`).toBeGreaterThan(0);
      cluster.start(...victims);
      await load.progress(PROGRESS);
      await load.stop();
      expect(await load.differences(), `round ${round}, killed ${victims}`).toEqual([]);
      await cluster.stateHash();
    }
    expect(await cluster.checkDisks()).toEqual([]);
  },
  TEST_MS,
);
