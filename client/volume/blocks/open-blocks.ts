import { join } from "node:path";
import type { Logger } from "pino";
import { UserError } from "../../../base/user-error.ts";
import type { VolumeDescription } from "../../../config/volume-description.ts";
import type { RegionIndex } from "../../../core/ids.ts";
import type { FormattedVolume } from "../metadata/metadata.ts";
import type { MountOptions } from "../options.ts";
import { type BlockService, openBlockService } from "./block-service.ts";

interface Buckets extends FormattedVolume {
  readonly volume: VolumeDescription;
  readonly options: MountOptions;
  readonly logger: Logger;
}

/**
 * Starts the thread of the object stores, and checks every bucket of the volume.
 * @throws UserError
 */
export async function openBlocks(buckets: Buckets): Promise<BlockService> {
  const blocks = await startService(buckets);
  try {
    await claimBuckets(blocks, buckets);
    return blocks;
  } catch (error) {
    await blocks.close();
    throw error;
  }
}

async function startService({ volume, regions, own, options, logger }: Buckets): Promise<BlockService> {
  const cache =
    options.cacheDir === undefined || options.cacheBytes === 0
      ? undefined
      : { directory: join(options.cacheDir, "blocks"), bytesMax: options.cacheBytes };
  const buckets = regions.map((region) => ({ region, url: volume.regions.get(region)!.bucket }));
  try {
    return await openBlockService({ volume: volume.volume, buckets, own, cache }, (error) =>
      logger.fatal({ err: error }, "the thread of the object stores has failed"),
    );
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`the object stores cannot be opened: ${(error as Error).message}`);
  }
}

/**
 * Another region's bucket may be out of reach for now. A bucket that belongs to another volume or region is refused.
 */
async function claimBuckets(blocks: BlockService, { volume, regions, own, uuid, logger }: Buckets): Promise<void> {
  await Promise.all(
    regions.map(async (region, index) => {
      const { ok, message, foreign } = await blocks.claim(index as RegionIndex, uuid);
      if (foreign !== undefined) throw new UserError(foreign, 2);
      if (ok) return;
      // The store's own words name the bucket and the remedy.
      const why = message ?? `bucket ${volume.regions.get(region)?.bucket} cannot be used`;
      if (index === own) throw new UserError(why);
      logger.warn({ region }, `${why} (it is not needed at once)`);
    }),
  );
}
