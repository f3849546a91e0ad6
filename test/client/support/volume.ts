import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { RegionDescription, VolumeDescription } from "../../../config/volume-description.ts";

/** A volume with one region, one metadata server and a directory as its bucket. */
export function singleRegion(dir: string, port: number): VolumeDescription {
  return describeVolume(dir, { aws: [port] });
}

export function describeVolume(dir: string, ports: Readonly<Record<string, readonly number[]>>): VolumeDescription {
  const regions = new Map<string, RegionDescription>();
  for (const [name, members] of Object.entries(ports)) {
    const bucket = join(dir, `bucket-${name}`);
    mkdirSync(bucket, { recursive: true });
    regions.set(name, {
      name,
      meta: members.map((port) => `127.0.0.1:${port}`),
      bucket: pathToFileURL(bucket).href,
      queue: "redis://127.0.0.1:1",
    });
  }
  return {
    volume: "test",
    regions,
    primary: Object.keys(ports)[0]!,
    changelog: { retainHours: 1, retainGib: 1 },
    startAlone: "serve",
    startAloneWaitMs: 500,
    gc: { graceMs: 60_000 },
  };
}
