import type { Command } from "commander";
import { callLeader } from "../../admin/client.ts";
import { UserError } from "../../base/user-error.ts";
import type { RegionDescription, VolumeDescription } from "../../config/volume-description.ts";
import { hasMarker } from "../../object-store/marker.ts";
import { openObjectStore } from "../../object-store/open.ts";
import { readVolume, regionOf, withConfig } from "../options.ts";

const BUCKET_MS_MAX = 5_000;
const ANSWER_MS_MAX = 10_000;

export function addFormat(program: Command): void {
  withConfig(program.command("format"))
    .description(
      "create a new volume although some of its regions do not answer yet; without this order it is created once all have",
    )
    .requiredOption("--without <region...>", "regions that do not answer, and are known never to have held the volume")
    .action(async (options) => {
      const volume = readVolume(options);
      const without: readonly string[] = options.without.map((name: string) => regionOf(volume, name).name);
      for (const region of volume.regions.values()) await refuseMarked(volume, region);
      const request = { volume: volume.volume, without: [...without] };
      const first = regionOf(volume, volume.primary);
      const answer = await callLeader(volume, first, "format", request, ANSWER_MS_MAX);
      if (!answer.ok) throw new UserError(answer.message);
      process.stdout.write(`${answer.message}\n`);
    });
}

/** A bucket is marked by the first process that uses it: if it is, its region held the volume, whatever became of the servers. */
async function refuseMarked({ volume }: VolumeDescription, { name, bucket }: RegionDescription): Promise<void> {
  const store = openObjectStore(bucket);
  const signal = AbortSignal.timeout(BUCKET_MS_MAX);
  try {
    if (!(await hasMarker(store, volume, { signal }))) return;
  } catch (error) {
    process.stderr.write(`mirrorfs: not looked for a volume in bucket ${store.url}: ${(error as Error).message}\n`);
    return;
  } finally {
    await store.close();
  }
  throw new UserError(
    `not formatted: bucket ${store.url} of region ${name} has been used by a volume ${volume}: start the servers that hold it, or name an empty bucket in the volume file`,
  );
}
