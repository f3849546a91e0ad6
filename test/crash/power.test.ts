/**
 * Power failures. Each server is a child process with a preloaded library (power-cut.c) that journals each fsync and
 * fdatasync with the file's length, and each creation, rename and removal, and kills the server with SIGKILL right before a
 * chosen write, sync or change of a name. Then everything that was not durable is dropped from its directory (disk.ts:
 * unsynced bytes, wholly, in part or page by page, and unsynced names), and the server is restarted on the rest. What was
 * synced is kept to the byte, and the cost is one system call per sync.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { randomFrom } from "../random.ts";
import { COUNTED, CrashCluster } from "./cluster.ts";
import type { Tail } from "./disk.ts";
import { Load } from "./load.ts";

const IN_FLIGHT = 64;
const TEST_MS = 300_000;
const PROGRESS = 300;
const SEED = Number(process.env.CRASH_SEED ?? 1);
const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 2);
const TAILS: readonly Tail[] = ["torn", "pages", "gone"];

let built: string;
let cluster: CrashCluster;
let load: Load;
let random: () => number;

beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), "mirrorfs-power-"));
  const source = fileURLToPath(import.meta.resolve("./power-cut.c"));
  execFileSync("cc", [
    "-O1",
    "-Wall",
    "-shared",
    "-fPIC",
    "-o",
    join(built, "power-cut.so"),
    source,
    "-ldl",
    "-lpthread",
  ]);
});

afterAll(() => rmSync(built, { recursive: true }));

beforeEach(async () => {
  random = randomFrom(SEED);
  cluster = await CrashCluster.create({ library: join(built, "power-cut.so"), random });
  cluster.start(...cluster.members);
  load = new Load(() => cluster.leader());
});

afterEach(async () => {
  load.close();
  await cluster.close();
});

async function compare(round: string): Promise<void> {
  await load.progress(PROGRESS);
  await load.stop();
  expect(await load.differences(), round).toEqual([]);
  await cluster.stateHash();
}

test(
  "all servers lose power under load: every acknowledged change is present, once, on every member",
  async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const tail = TAILS[round % TAILS.length]!;
      const name = `seed ${SEED}, round ${round}, tail ${tail}`;
      load.start(IN_FLIGHT);
      await load.progress(PROGRESS);
      let inFlight = 0;
      cluster.arm(cluster.members, { countdown: 1 + Math.floor(random() * 200), counted: COUNTED.sync });
      const lost = await cluster.cut(cluster.members, tail, () => {
        inFlight = load.inFlight;
      });
      expect(inFlight, `${name}: the cut hit nothing`).toBeGreaterThan(0);
      if (tail !== "pages") expect(lost.bytes, `${name}: nothing was lost`).toBeGreaterThan(0);
      // A second power failure while they start, at a name that LevelDB creates, renames or removes when it opens.
      cluster.arm(cluster.members, { countdown: 1 + Math.floor(random() * 12), counted: COUNTED.name });
      cluster.start(...cluster.members);
      await cluster.cut(cluster.members, tail);
      cluster.start(...cluster.members);
      await compare(name);
    }
    expect(await cluster.checkDisks()).toEqual([]);
  },
  TEST_MS,
);

test(
  "a follower loses power while a snapshot replaces its state",
  async () => {
    const parts = [
      { within: "/state-2", counted: COUNTED.any, countdown: 1 + Math.floor(random() * 12) }, // while the new state is written
      { within: "/STATE", counted: COUNTED.any, countdown: 1 + Math.floor(random() * 4) }, // while it replaces the old one
      { within: "/MANIFEST", counted: COUNTED.name, countdown: 12 }, // while the old one is removed: LevelDB opens the first eleven
    ];
    load.start(IN_FLIGHT);
    await load.progress(PROGRESS);
    for (const [i, part] of parts.entries()) {
      const follower = ((await cluster.leader()).member % 3) + 1;
      await cluster.kill(follower);
      await load.progress(1_000);
      await new Promise((resolve) => setTimeout(resolve, 1_000)); // until the log has been truncated
      cluster.arm([follower], part);
      cluster.start(follower);
      await cluster.cut([follower], TAILS[i]!);
      cluster.start(follower);
      await cluster.level();
    }
    await compare(`seed ${SEED}`);
    expect(await cluster.checkDisks()).toEqual([]);
  },
  TEST_MS,
);
