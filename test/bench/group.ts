import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { askMembers } from "../../admin/client.ts";
import { readVolumeFile } from "../../config/volume-file.ts";
import { choosePort } from "../../sandbox/ports.ts";
import { RawClient } from "../meta-server/raw-client.ts";
import { ROOT } from "../rules/source-files.ts";

const VOLUME = "bench";
const REGION = "aws";
const LEADER_MS_MAX = 20_000;

export interface BenchGroup {
  readonly leader: string;
  /** The servers' processes, member 1 first. */
  readonly pids: readonly number[];
  /** Opens a stream to the leader, with a session. */
  connect(): Promise<RawClient>;
}

export interface BenchGroupOptions {
  readonly members: number;
  /** Whether reads use a leader lease. */
  readonly lease?: boolean;
  /** Added to this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Runs `measure` on one region's metadata servers, each a `mirrorfs meta` process, without a mirror. */
export async function onGroup<T>(
  { members, lease = false, environment }: BenchGroupOptions,
  measure: (group: BenchGroup) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "mirrorfs-bench-"));
  const file = join(directory, "volume.yaml");
  const meta: string[] = [];
  for (let member = 1; member <= members; member++) meta.push(`127.0.0.1:${await choosePort()}`);
  writeFileSync(file, describe(meta, directory, lease));
  const children = meta.map((_, i) => start(file, i + 1, join(directory, `meta-${i + 1}`), environment));
  const killed = () => {
    for (const child of children) child.kill("SIGKILL");
  };
  process.once("exit", killed);
  try {
    const leader = await findLeader(file);
    const connect = async () => {
      const client = new RawClient(leader, { volume: VOLUME });
      await client.open();
      return client;
    };
    return await measure({ leader, pids: children.map((child) => child.pid!), connect });
  } finally {
    await Promise.all(children.map(stop));
    process.off("exit", killed);
    rmSync(directory, { recursive: true, force: true });
  }
}

function describe(meta: readonly string[], directory: string, lease: boolean): string {
  const region = { meta, bucket: `file://${directory}/bucket`, queue: "redis://127.0.0.1:1" };
  return JSON.stringify({ volume: VOLUME, regions: { [REGION]: region }, primary: REGION, reads: { lease } });
}

function start(file: string, member: number, data: string, environment: Readonly<Record<string, string>> = {}) {
  const args = ["meta", "--config", file, "--region", REGION, "--id", `${member}`, "--data", data];
  return spawn(join(ROOT, "bin/mirrorfs"), [...args, "--log-level", "warn"], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await new Promise((resolve) => child.once("exit", resolve));
}

async function findLeader(file: string): Promise<string> {
  const volume = readVolumeFile(file);
  const deadlineMs = performance.now() + LEADER_MS_MAX;
  while (performance.now() < deadlineMs) {
    const answers = await askMembers(volume, volume.regions.get(REGION)!);
    const leader = answers.find(({ status }) => status?.isLeader && status.role === "primary");
    if (leader !== undefined) return leader.address;
    await delay(100);
  }
  throw new Error("the group has no leader");
}
