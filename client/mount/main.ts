import type { Logger } from "pino";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { type FuseOptions, mountFuse } from "../fuse/mount.ts";
import { openVolume } from "../volume/open-volume.ts";
import { type MountOptions, parseMountOptions, type WrittenMountOptions } from "../volume/options.ts";

/** Added to the time limits of the handlers before a request is answered with ETIMEDOUT. */
const DEADLINE_SLACK_MS = 60_000;

/** The part of the mount options that concerns the kernel. */
export function fuseOptions(options: MountOptions): FuseOptions {
  const { allowOther, readOnly, kernelFlags, readAheadKb, negativeEntryValidMs } = options;
  const requestDeadlineMs = options.writeTimeoutMs * 2 + options.readTimeoutMs + DEADLINE_SLACK_MS;
  return { allowOther, readOnly, kernelFlags, readAheadKb, negativeEntryValidMs, requestDeadlineMs };
}

interface RunningMount {
  /** As the mount table has them. */
  readonly device: string | undefined;
  readonly source: string;
  stop(): Promise<void>;
  readonly ended: Promise<void>;
}

/**
 * Mounts a volume at a directory, reading from `region`.
 * @throws UserError for what a user can fix: options, the mount point, metadata servers or buckets out of reach.
 */
export async function runMount(what: {
  volume: VolumeDescription;
  region: string;
  mountPoint: string;
  options: WrittenMountOptions;
  logger: Logger;
}): Promise<RunningMount> {
  const { volume, region, mountPoint, logger } = what;
  const source = `${volume.volume}@${region}`;
  const options = parseMountOptions(what.options);
  const access = await openVolume({ volume, region, options, logger });
  try {
    const mount = await mountFuse({
      mountPoint,
      source,
      handlers: access.handlers,
      options: fuseOptions(options),
      logger,
    });
    access.state.kernel.caches = mount.caches;
    const ended = mount.ended.then(() => access.close());
    return {
      device: mount.device,
      source,
      ended,
      async stop() {
        await access.state.writers.commitOrGiveUp();
        await mount.unmount();
        await ended;
      },
    };
  } catch (error) {
    await access.close();
    throw error;
  }
}
