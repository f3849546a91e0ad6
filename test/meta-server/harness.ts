import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { type MetaServerOptions, runMetaServer } from "../../meta-server/main.ts";
import { channelCredentials } from "../../proto/credentials.ts";
import { type AdminAnswer, AdminClient, type RegionStatus } from "../../proto/generated/admin.ts";
import { choosePort } from "../../sandbox/ports.ts";
import type { WanProxy } from "../../sandbox/wan-proxy.ts";
import { until } from "../support/until.ts";
import { type WanLink, wanLink } from "../support/wan-link.ts";

export const logger = pino({ level: process.env.TEST_LOG ?? "silent" });

interface RunningMember {
  stop(): Promise<void>;
}

type Tuning = Pick<MetaServerOptions, "tuning" | "groupTuning">;

/** Regions of metadata servers in this process, on real ports and in temporary directories. */
export class TestVolume {
  readonly volume: VolumeDescription;
  readonly directory: string;
  readonly #running = new Map<string, RunningMember>();
  readonly #admins = new Map<string, AdminClient>();
  readonly #tuning: Tuning;
  readonly #links = new Map<string, WanLink>();

  private constructor(volume: VolumeDescription, directory: string, tuning: Tuning) {
    this.volume = volume;
    this.directory = directory;
    this.#tuning = tuning;
  }

  static async create(
    regions: Record<string, number>,
    options: Partial<VolumeDescription> & { servers?: Tuning } = {},
  ): Promise<TestVolume> {
    const described = new Map<string, VolumeDescription["regions"] extends ReadonlyMap<string, infer R> ? R : never>();
    for (const [name, members] of Object.entries(regions)) {
      const meta: string[] = [];
      for (let member = 1; member <= members; member += 1) meta.push(`127.0.0.1:${await choosePort()}`);
      described.set(name, { name, meta, bucket: `file:///nowhere/${name}`, queue: "redis://127.0.0.1:1" });
    }
    const { servers = {}, ...rest } = options;
    const volume: VolumeDescription = {
      volume: "test",
      regions: described,
      primary: Object.keys(regions)[0]!,
      changelog: { retainHours: 24, retainGib: 10 },
      startAlone: "serve",
      startAloneWaitMs: 1_000,
      gc: { graceMs: 0 },
      ...rest,
    };
    const directory = await mkdtemp(join(tmpdir(), "mirrorfs-meta-"));
    return new TestVolume(volume, directory, servers);
  }

  /** From the next start on the region's servers reach the other regions through this link. */
  async linkOf(region: string): Promise<WanProxy> {
    const made = await wanLink(this.volume, region);
    this.#links.set(region, made);
    return made.link;
  }

  async start(region: string, member?: number): Promise<void> {
    const { meta } = this.volume.regions.get(region)!;
    const members = member === undefined ? meta.map((_, index) => index + 1) : [member];
    await Promise.all(
      members.map(async (id) => {
        const running = await runMetaServer({
          volume: this.#links.get(region)?.view ?? this.volume,
          region,
          member: id,
          dataDir: join(this.directory, `${region}-${id}`),
          logger: logger.child({ at: `${region}/${id}` }),
          ...this.#tuning,
          onFatal: (error) => {
            throw error;
          },
        });
        this.#running.set(`${region}/${id}`, running);
      }),
    );
  }

  /** Has the first region's leader format the volume although other regions are not there. */
  async formatWithout(without: readonly string[]): Promise<AdminAnswer> {
    const { address } = await this.leader(this.volume.primary, ({ message }) => message.includes("not formatted"));
    return new Promise((resolve, reject) => {
      this.admin(address).format({ volume: this.volume.volume, without: [...without] }, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  }

  async stop(region: string, member?: number): Promise<void> {
    const names = [...this.#running.keys()].filter((name) =>
      member === undefined ? name.startsWith(`${region}/`) : name === `${region}/${member}`,
    );
    await Promise.all(
      names.map(async (name) => {
        await this.#running.get(name)?.stop();
        this.#running.delete(name);
      }),
    );
  }

  admin(address: string): AdminClient {
    let client = this.#admins.get(address);
    if (client === undefined) {
      client = new AdminClient(address, channelCredentials(), {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.max_reconnect_backoff_ms": 200,
        "grpc.initial_reconnect_backoff_ms": 20,
      });
      this.#admins.set(address, client);
    }
    return client;
  }

  status(address: string): Promise<RegionStatus> {
    return new Promise((resolve, reject) => {
      this.admin(address).status({ volume: this.volume.volume }, (error, status) =>
        error === null ? resolve(status) : reject(error),
      );
    });
  }

  /** The leader's status once the region has one that satisfies `when`. */
  leader(
    region: string,
    when: (status: RegionStatus) => boolean = () => true,
  ): Promise<RegionStatus & { address: string }> {
    return until(`leader of ${region}`, async () => {
      for (const address of this.volume.regions.get(region)!.meta) {
        const status = await this.status(address).catch(() => undefined);
        if (status?.isLeader && when(status)) return { ...status, address };
      }
      return undefined;
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.values()].map((running) => running.stop()));
    for (const client of this.#admins.values()) client.close();
    for (const { link } of this.#links.values()) await link.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}
