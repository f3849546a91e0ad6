import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { UserError } from "../../../base/user-error.ts";
import { membersOf, type VolumeDescription } from "../../../config/volume-description.ts";
import type { RegionIndex, Version } from "../../../core/ids.ts";
import type { Hello, OpenFile, Welcome } from "../../../proto/generated/metadata.ts";
import type { MountOptions } from "../options.ts";
import { ClientSession } from "./client-session.ts";
import { SliceGrants } from "./grants.ts";
import { MetadataReads } from "./metadata-reads.ts";
import { Router, type RouterEvents } from "./router.ts";

const WELCOME_MS = 20_000;

export interface MetadataEvents extends RouterEvents {
  onSessionLost(): void;
}

/** The volume as it was formatted. */
export interface FormattedVolume {
  readonly uuid: string;
  /** Names of the regions, by region index. */
  readonly regions: readonly string[];
  /** Index of the mount's region. */
  readonly own: RegionIndex;
}

/** The metadata servers as one mount uses them: the session for changes, the reads, and the router below both. */
export class Metadata {
  readonly router: Router;
  readonly session: ClientSession;
  readonly grants: SliceGrants;
  readonly reads: MetadataReads;
  readonly #volume: VolumeDescription;
  readonly #region: string;
  readonly #client = randomUUID();
  readonly #openFiles: () => OpenFile[];
  #own = 0 as RegionIndex;

  /** `openFiles`: the inodes that are open through this mount, for the Hello to each server. */
  constructor(what: {
    volume: VolumeDescription;
    region: string;
    options: MountOptions;
    logger: Logger;
    openFiles: () => OpenFile[];
    events: MetadataEvents;
  }) {
    const { volume, region, options, logger, events } = what;
    const { consistency, maxStalenessMs, onPrimaryLoss, readTimeoutMs, writeTimeoutMs } = options;
    this.#volume = volume;
    this.#region = region;
    this.#openFiles = what.openFiles;
    const reading = { consistency, maxStalenessMs, onPrimaryLoss, readTimeoutMs };
    this.router = new Router({ volume, region, ...reading, logger, hello: (...seen) => this.#hello(...seen) }, events);
    this.session = new ClientSession({
      router: this.router,
      logger,
      client: this.#client,
      region: () => this.#own,
      writeTimeoutMs,
      onLost: () => {
        this.grants.drop();
        events.onSessionLost();
      },
    });
    this.grants = new SliceGrants(this.session);
    this.reads = new MetadataReads(this.router);
  }

  /**
   * Finds the primary, and reads the volume's regions from the leader of the mount's region. Call it before any
   * request.
   * @throws UserError when no server leads there, or the volume differs from the volume file.
   */
  async connect(): Promise<FormattedVolume> {
    await this.router.findPrimary();
    const { regions, uuid } = await welcomed(this.router, this.#volume, this.#region);
    this.#own = regions.indexOf(this.#region) as RegionIndex;
    return { uuid, regions, own: this.#own };
  }

  #hello(seen: Version, uuid: string): Hello {
    return {
      volume: this.#volume.volume,
      region: this.#region,
      client: this.#client,
      session: this.session.id,
      seen,
      uuid,
      open: this.#openFiles(),
    };
  }
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
