import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Logger } from "pino";
import { UserError } from "../../base/user-error.ts";
import { membersOf, type VolumeDescription } from "../../config/volume-description.ts";
import type { RegionIndex, SliceId } from "../../core/ids.ts";
import type { Welcome } from "../../proto/generated/metadata.ts";
import { BlockCache } from "./blocks/block-cache.ts";
import { type BlockService, openBlockService } from "./blocks/block-service.ts";
import { fileSystem } from "./filesystem/filesystem.ts";
import { MountState } from "./filesystem/mount-state.ts";
import type { Handlers } from "./handlers.ts";
import { ClientSession } from "./metadata/client-session.ts";
import { SliceGrants } from "./metadata/grants.ts";
import { MetadataReads } from "./metadata/metadata-reads.ts";
import { Router } from "./metadata/router.ts";
import type { MountOptions } from "./options.ts";

const WELCOME_MS = 20_000;
const CLOSE_SESSION_MS = 3000;
const WANT_AGAIN_MS = 5000;
/**
 * How long the kernel may use unasked what it was told. Names may be believed for long anywhere: pushes end the belief, and an
 * open checks every name that led to it. Attributes at a mirror are asked for anew after a second, pushed or not.
 */
const VALID_MS = { names: 60_000, attributes: { primary: 60_000, mirror: 1000 } };

export interface VolumeAccess {
  readonly handlers: Handlers;
  readonly state: MountState;
  /** Commits what is dirty and lets go of everything. */
  close(): Promise<void>;
}

/** The volume as the kernel would see it, without the kernel. @throws UserError */
export async function openVolume(what: {
  volume: VolumeDescription;
  region: string;
  options: MountOptions;
  logger: Logger;
}): Promise<VolumeAccess> {
  const { volume, region, options, logger } = what;
  if (!volume.regions.has(region)) throw new UserError(`volume ${volume.volume} has no region "${region}"`, 2);
  const client = randomUUID();
  // The parts know each other by these two, which are there before anything happens.
  let state: MountState | undefined;
  let session: ClientSession | undefined;
  const router = new Router(
    {
      volume,
      region,
      consistency: options.consistency,
      maxStalenessMs: options.maxStalenessMs,
      onPrimaryLoss: options.onPrimaryLoss,
      readTimeoutMs: options.readTimeoutMs,
      logger,
      hello: (seen) => ({
        volume: volume.volume,
        region,
        client,
        session: session?.id ?? 0,
        seen,
        open: state?.nodes.openFiles() ?? [],
      }),
    },
    {
      onInvalidations: (invalidations) => state?.kernel.invalidate(invalidations),
      onCachesLost: () => state?.kernel.invalidateAll(),
    },
  );
  let blocks: BlockService | undefined;
  try {
    let own = 0 as RegionIndex;
    session = new ClientSession({
      router,
      logger,
      client,
      region: () => own,
      writeTimeoutMs: options.writeTimeoutMs,
      onLost: () => {
        grants.drop();
        state?.onSessionLost();
      },
    });
    const grants = new SliceGrants(session);
    await router.findPrimary();
    const { regions, uuid } = await welcomed(router, volume, region);
    own = regions.indexOf(region) as RegionIndex;
    blocks = await openBlocks({ volume, regions, own, options, logger });
    await claimBuckets(blocks, { volume, regions, own, uuid, logger });
    state = connect({ router, session, grants, blocks, regions, options, logger });
    router.start();
    void session.open();
    return access(state, { router, session, blocks });
  } catch (error) {
    router.close();
    await blocks?.close();
    throw error;
  }
}

function access(
  state: MountState,
  { router, session, blocks }: { router: Router; session: ClientSession; blocks: BlockService },
): VolumeAccess {
  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    await state.writers.close();
    // A session that cannot be closed now ends by itself.
    const timeout = AbortSignal.timeout(CLOSE_SESSION_MS);
    await Promise.race([
      session.close(),
      new Promise<void>((resolve) => timeout.addEventListener("abort", () => resolve())),
    ]);
    router.close();
    await blocks.close();
  }
  return {
    handlers: fileSystem(state),
    state,
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function connect(parts: {
  router: Router;
  session: ClientSession;
  grants: SliceGrants;
  blocks: BlockService;
  regions: readonly string[];
  options: MountOptions;
  logger: Logger;
}): MountState {
  const { router, session, grants, blocks, regions, options, logger } = parts;
  const reads = new MetadataReads(router);
  const cache = new BlockCache(blocks, {
    bytesMax: options.memoryCacheBytes,
    timeoutMs: options.readTimeoutMs,
    events: {
      onWanted: wanting(reads),
      onCorrupt: (slice, index, { corruptIn }) =>
        logger.error({ slice, index, regions: corruptIn.map((each) => regions[each]) }, "a block fails its checksum"),
    },
  });
  return new MountState({
    router,
    session,
    reads,
    blocks: cache,
    dirtyBytesMax: options.writeBufferBytes,
    readAheadBytes: options.readAheadBytes,
    validMs: VALID_MS,
    logger,
    uploads: {
      blocks,
      takeSlice: () => grants.take(),
      dropGrants: () => grants.drop(),
      primaryRegion: () => Math.max(0, regions.indexOf(router.primary)) as RegionIndex,
      writeTimeoutMs: options.writeTimeoutMs,
      onUploadFailure: (slice, { code, message }) =>
        logger.warn({ slice, code }, `a block could not be stored, trying again: ${message ?? code}`),
    },
  });
}

async function welcomed(router: Router, volume: VolumeDescription, region: string): Promise<Welcome> {
  const own = await router.group(region).welcome(WELCOME_MS);
  if (own === undefined) {
    const members = membersOf(volume.regions.get(region)!)
      .map(({ address }) => address)
      .join(", ");
    throw new UserError(`no metadata server of region "${region}" leads at ${members}: start them (mirrorfs meta)`);
  }
  const missing = own.regions.find((each) => !volume.regions.has(each));
  if (missing !== undefined) throw new UserError(`the volume has a region "${missing}" that its file does not name`, 2);
  if (!own.regions.includes(region)) throw new UserError(`the volume was formatted without region "${region}"`, 2);
  return own;
}

async function openBlocks(what: {
  volume: VolumeDescription;
  regions: readonly string[];
  own: RegionIndex;
  options: MountOptions;
  logger: Logger;
}): Promise<BlockService> {
  const { volume, regions, own, options, logger } = what;
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
 * Checks every bucket of the volume. That of another region may be out of reach for now; one that belongs to somebody else
 * is refused in any region.
 * @throws UserError
 */
async function claimBuckets(
  blocks: BlockService,
  what: { volume: VolumeDescription; regions: readonly string[]; own: RegionIndex; uuid: string; logger: Logger },
): Promise<void> {
  const { volume, regions, own, uuid, logger } = what;
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

/** Tells the region's servers which slices a reader waits for: several at once, and each one not too often. */
function wanting(reads: MetadataReads): (slice: SliceId) => void {
  const told = new Map<SliceId, number>();
  let waiting: SliceId[] = [];
  return (slice) => {
    const now = performance.now();
    if ((told.get(slice) ?? Number.NEGATIVE_INFINITY) > now - WANT_AGAIN_MS) return;
    told.set(slice, now);
    if (told.size > 10_000) told.clear();
    if (waiting.push(slice) > 1) return;
    setImmediate(() => {
      reads.want(waiting);
      waiting = [];
    });
  };
}
