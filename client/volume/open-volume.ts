import type { Logger } from "pino";
import { UserError } from "../../base/user-error.ts";
import { pause } from "../../base/waiting.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import type { RegionIndex } from "../../core/ids.ts";
import { BlockCache } from "./blocks/block-cache.ts";
import type { BlockService } from "./blocks/block-service.ts";
import { MissingSlices } from "./blocks/missing-slices.ts";
import { openBlocks } from "./blocks/open-blocks.ts";
import { fileSystem } from "./filesystem/filesystem.ts";
import { MountState } from "./filesystem/mount-state.ts";
import { ReadAheadBudget } from "./filesystem/read-ahead.ts";
import type { Handlers } from "./handlers.ts";
import { Metadata } from "./metadata/metadata.ts";
import type { MountOptions } from "./options.ts";

const CLOSE_SESSION_MS = 2000;
const CLOSE_BLOCKS_MS = 2000;
/**
 * How long the kernel may cache names and attributes. Names for long in every region: pushes invalidate them, and an
 * open checks every name that led to it. Attributes at a mirror for a second only, because a push arrives with the
 * mirror's lag.
 */
const VALID_MS = { names: 60_000, attributes: { primary: 60_000, mirror: 1000 } };

export interface VolumeAccess {
  readonly handlers: Handlers;
  readonly state: MountState;
  /** Commits what is dirty, in bounded time, and releases everything. */
  close(): Promise<void>;
}

/** Connects to a volume and makes a file system of it, which client/fuse or a test calls. @throws UserError */
export async function openVolume(what: {
  volume: VolumeDescription;
  region: string;
  options: MountOptions;
  logger: Logger;
}): Promise<VolumeAccess> {
  const { volume, region, options, logger } = what;
  if (!volume.regions.has(region)) throw new UserError(`volume ${volume.volume} has no region "${region}"`, 2);
  // The servers' pushes concern the state, which can only be made once the servers have described the volume.
  let state: MountState | undefined;
  const metadata = new Metadata({
    ...what,
    openFiles: () => state?.nodes.openFiles() ?? [],
    events: {
      onInvalidations: (invalidations, version) => state?.kernel.invalidate(invalidations, version),
      onCachesLost: () => state?.kernel.invalidateAll(),
      onSessionLost: () => state?.onSessionLost(),
    },
  });
  try {
    const formatted = await metadata.connect();
    const blocks = await openBlocks({ ...formatted, volume, options, logger });
    state = mountState({ metadata, blocks, regions: formatted.regions, options, logger });
    metadata.router.start();
    void metadata.session.open();
    return access(state, metadata, blocks);
  } catch (error) {
    metadata.router.close();
    throw error;
  }
}

function access(state: MountState, { router, session }: Metadata, blocks: BlockService): VolumeAccess {
  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    await state.writers.close();
    // A session that cannot be closed now ends by itself.
    if (router.primaryDownForMs === 0) await Promise.race([session.close(), pause(CLOSE_SESSION_MS)]);
    router.close();
    await Promise.race([blocks.close(), pause(CLOSE_BLOCKS_MS)]);
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

function mountState(parts: {
  metadata: Metadata;
  blocks: BlockService;
  regions: readonly string[];
  options: MountOptions;
  logger: Logger;
}): MountState {
  const { metadata, blocks, regions, options, logger } = parts;
  const { router, session, grants, reads } = metadata;
  const missing = new MissingSlices((slices) => reads.reportMissing(slices));
  const cache = new BlockCache(blocks, {
    bytesMax: options.memoryCacheBytes,
    timeoutMs: options.readTimeoutMs,
    events: {
      onMissing: (slice) => missing.add(slice),
      onCorrupt: (slice, index, { corruptIn }) =>
        logger.error(
          { slice, index, regions: corruptIn.map((each) => regions[each]) },
          "a block does not match its checksum",
        ),
    },
  });
  return new MountState({
    router,
    session,
    reads,
    blocks: cache,
    dirtyBytesMax: options.writeBufferBytes,
    // The other half is for blocks that are being read, and for random reads.
    readAhead: new ReadAheadBudget({ bytesMax: options.memoryCacheBytes / 2, eachBytesMax: options.readAheadBytes }),
    validMs: VALID_MS,
    inodesMax: options.inodesMax,
    logger,
    uploads: {
      blocks,
      takeSlice: () => grants.take(),
      dropGrants: () => grants.drop(),
      primaryRegion: () => Math.max(0, regions.indexOf(router.primary)) as RegionIndex,
      writeTimeoutMs: options.writeTimeoutMs,
      onUploadFailure: (slice, { code, message }) =>
        logger.warn({ slice, code }, `a block could not be stored and is retried: ${message ?? code}`),
    },
  });
}
