import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askMembers } from "../../admin/client.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { readVolumeFile } from "../../config/volume-file.ts";
import { Cloud } from "../../sandbox/cloud.ts";
import type { RegionName } from "../../sandbox/layout.ts";
import { RawClient } from "../meta-server/raw-client.ts";
import { ROOT } from "../rules/source-files.ts";

export interface BenchCloud {
  readonly cloud: Cloud;
  readonly volume: VolumeDescription;
  /** A directory for the benchmark's own files, on the same disk. */
  readonly scratch: string;
}

/** Runs `measure` on a new two-region volume, and removes it afterwards. */
export async function onCloud<T>(
  options: { replicas: number; wanMs: number; buckets: "cloud" | "file" },
  measure: (on: BenchCloud) => Promise<T>,
): Promise<T> {
  const scratch = mkdtempSync(join(tmpdir(), "mirrorfs-bench-"));
  const cloud = new Cloud({
    ...options,
    mirrorReplicas: 1,
    program: join(ROOT, "bin/mirrorfs"),
    environment: process.env,
    report: () => {},
  });
  const interrupted = () => void cloud.stop().then(() => process.exit(130));
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  try {
    await cloud.start();
    return await measure({ cloud, volume: readVolumeFile(cloud.places.volumeFile), scratch });
  } finally {
    await cloud.stop();
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Opens a stream to a region's leader, with a session unless `seen` is "mirror". */
export async function connectToLeader({ volume }: BenchCloud, region: RegionName, seen?: "mirror"): Promise<RawClient> {
  const members = await askMembers(volume, volume.regions.get(region)!);
  const leader = members.find((it) => it.status?.isLeader);
  if (leader === undefined) throw new Error(`${region} has no leader`);
  const client = new RawClient(leader.address, { volume: volume.volume });
  if (seen === undefined) await client.open();
  return client;
}
