import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openVolume, type VolumeAccess } from "../../client/volume/open-volume.ts";
import { parseMountOptions } from "../../client/volume/options.ts";
import { choosePort } from "../../sandbox/ports.ts";
import { describeVolume } from "../client/support/volume.ts";
import { Disk } from "../client/support/world.ts";
import { MIRRORFS, run, until } from "./cloud.ts";

const REGIONS = ["aws", "gcp"] as const;
const MEMBERS = [1, 2, 3] as const;

let dir: string;
let config: string;
let volume: ReturnType<typeof describeVolume>;
const servers = new Map<string, ChildProcess>();
const accesses: VolumeAccess[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-upgrade-"));
  const ports = { aws: [0, 0, 0], gcp: [0, 0, 0] };
  for (const region of REGIONS) for (const member of MEMBERS) ports[region][member - 1] = await choosePort();
  volume = describeVolume(dir, ports);
  const regions = [...volume.regions.values()].map(
    ({ name, meta, bucket }, i) =>
      `  ${name}: ${JSON.stringify({ meta, bucket, queue: `redis://127.0.0.1:${i + 1}` })}`,
  );
  config = join(dir, "volume.yaml");
  writeFileSync(config, ["volume: test", "regions:", ...regions, "primary: aws", ""].join("\n"));
});

afterAll(async () => {
  await Promise.all(accesses.map((access) => access.close()));
  await Promise.all([...servers.keys()].map(stop));
  rmSync(dir, { recursive: true, force: true });
});

/** Starts a metadata server of a version of the program that knows the levels up to `supports`. */
function start(region: string, member: number, supports: number): void {
  const args = ["meta", "--config", config, "--region", region, "--id", String(member), "--log-level", "fatal"];
  const child = spawn(MIRRORFS, [...args, "--data", join(dir, `${region}-${member}`)], {
    stdio: "ignore",
    env: { ...process.env, MIRRORFS_TEST_FEATURES: String(supports) },
  });
  servers.set(`${region}/${member}`, child);
}

async function stop(name: string): Promise<void> {
  const child = servers.get(name);
  servers.delete(name);
  if (child === undefined || child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

const mirrorfs = (...args: string[]) => run(MIRRORFS, [...args, "--config", config]);

/** Waits until all servers of a region are there, have caught up, and one of them leads. */
async function isWhole(region: string): Promise<void> {
  await until(
    `region ${region} to be whole`,
    async () => {
      const status = JSON.parse((await mirrorfs("status", "--json")).stdout);
      const { leader, members } = status.regions[region];
      return (
        leader !== null &&
        members.every((one: { reachable: boolean; behind: number | null }) => one.reachable && (one.behind ?? 1) < 100)
      );
    },
    90_000,
  );
}

/** Writes and reads files one after another. A call that fails ends it. */
function load(disk: Disk, region: string) {
  let isStopped = false;
  let written = 0;
  const run = async () => {
    for (; !isStopped; written++) {
      await disk.write(`${region}-${written}`, `content ${written}`);
      expect(String(await disk.read(`${region}-${written}`))).toBe(`content ${written}`);
    }
    return written;
  };
  const done = run();
  done.catch(() => undefined);
  return {
    get written() {
      return written;
    },
    stop() {
      isStopped = true;
      return done;
    },
  };
}

test("two regions of different versions are upgraded one by one under load, without a failed write; then the level is raised", async () => {
  for (const region of REGIONS) for (const member of MEMBERS) start(region, member, 1);
  for (const region of REGIONS) await isWhole(region);
  const logger = pino({ level: "silent" });
  const loads: ReturnType<typeof load>[] = [];
  for (const region of REGIONS) {
    const access = await openVolume({ volume, region, options: parseMountOptions({}), logger });
    accesses.push(access);
    loads.push(load(new Disk(access), region));
  }
  for (const region of ["gcp", "aws"]) {
    for (const member of MEMBERS) {
      const before = loads.map(({ written }) => written);
      const refused = await mirrorfs("upgrade", "--features", "2");
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/not every metadata server knows level 2: .*aws\/3 knows 1/),
      });
      await stop(`${region}/${member}`);
      start(region, member, 2);
      await isWhole(region);
      await until("writes to go on", () => loads.every(({ written }, i) => written > before[i]! + 5) || undefined);
    }
  }
  const shown = await mirrorfs("upgrade");
  expect(shown.stdout).toContain("every server knows level 2: 'mirrorfs upgrade --features 2' raises it");
  const raised = await mirrorfs("upgrade", "--features", "2", "--json");
  expect(raised, raised.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(raised.stdout)).toMatchObject({ volume: "test", features: 2 });
  const atRaise = loads.map(({ written }) => written);
  await until("writes at the new level", () => loads.every(({ written }, i) => written > atRaise[i]! + 5) || undefined);
  for (const one of loads) expect(await one.stop()).toBeGreaterThan(20);
  // Back to the older version is too late now.
  await stop("gcp/1");
  const args = ["meta", "--region", "gcp", "--id", "1", "--data", join(dir, "gcp-1"), "--config", config];
  const old = await run(MIRRORFS, args, { env: { MIRRORFS_TEST_FEATURES: "1" } });
  const line = "mirrorfs: the volume is at feature level 2, and this program supports 1: use a newer program";
  expect([old.code, old.stderr.trimEnd().split("\n").at(-1)]).toEqual([2, line]);
}, 400_000);
