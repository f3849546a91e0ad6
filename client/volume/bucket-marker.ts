import type { Logger } from "pino";
import { UserError } from "../../base/user-error.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import type { RegionIndex } from "../../core/ids.ts";
import type { BlockService } from "./blocks/block-service.ts";

/**
 * That each bucket is there and belongs to this volume and region; a bucket without a marker gets one. The bucket of a
 * region that is not `needed` may be out of reach for now; a marker of another volume is refused in every one.
 * @throws UserError
 */
export async function checkBuckets(
  blocks: BlockService,
  volume: VolumeDescription,
  regions: readonly string[],
  options: { readonly uuid: string; readonly needed: readonly string[]; readonly logger: Logger },
): Promise<void> {
  await Promise.all(
    regions.map(async (region, index) => {
      const failure = await checkBucket(blocks, volume, { region, index: index as RegionIndex, uuid: options.uuid });
      if (failure === undefined) return;
      if (failure.mine || options.needed.includes(region)) throw new UserError(failure.message);
      options.logger.warn({ region }, `${failure.message} (it is not needed at once)`);
    }),
  );
}

async function checkBucket(
  blocks: BlockService,
  volume: VolumeDescription,
  { region, index, uuid }: { region: string; index: RegionIndex; uuid: string },
): Promise<{ message: string; mine: boolean } | undefined> {
  const url = volume.regions.get(region)?.bucket;
  const probed = await blocks.probe(index);
  // The store's own words name the bucket and the remedy.
  if (!probed.ok) return { message: probed.message ?? `bucket ${url} cannot be used`, mine: false };
  const marked = await blocks.mark(index, uuid);
  if (!marked.ok) return { message: marked.message ?? `bucket ${url}: its marker cannot be read`, mine: false };
  const { marker } = marked;
  if (marker?.uuid === uuid && marker.region === region) return undefined;
  const owner = marker?.uuid === uuid ? `region "${marker.region}" of this volume` : `another volume (${marker?.uuid})`;
  return { message: `bucket ${url} belongs to ${owner}: give region "${region}" a bucket of its own`, mine: true };
}
