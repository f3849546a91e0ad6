import type { Logger } from "pino";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { runMetaServer } from "../../meta-server/main.ts";
import { attachDisk, type Disk } from "./environment/disk.ts";
import { Host, Violation, type World } from "./environment/world.ts";
import type { Profile } from "./profile.ts";

export const REGIONS = ["aws", "gcp"] as const;
export type Region = (typeof REGIONS)[number];
/** Members of each region's group when the run begins. */
export const MEMBERS = 3;

type MetaServerRun = Awaited<ReturnType<typeof runMetaServer>>;

/** A host that runs one metadata server, as `bin/mirrorfs meta` does, on a simulated disk, network and clock. */
export class SimulatedServer {
  readonly host: Host;
  readonly region: Region;
  readonly member: number;
  disk: Disk;
  running: MetaServerRun | undefined;
  /** It stopped with an error because of its disk's fault. */
  isBroken = false;
  /** It was removed from its group, and does not start again. */
  isRetired = false;
  readonly #cluster: Cluster;
  #join: boolean;

  constructor(cluster: Cluster, region: Region, member: number, join = false) {
    this.#cluster = cluster;
    this.#join = join;
    this.region = region;
    this.member = member;
    this.host = new Host(cluster.world, `${region}-${member}`, region);
    this.host.isServer = true;
    this.disk = attachDisk(this.host);
    this.disk.makeDirectory("/data");
  }

  get address(): string {
    return addressOf(this.region, this.member);
  }

  get isUp(): boolean {
    return this.host.process !== undefined;
  }

  start(): void {
    const { world, volume, profile } = this.#cluster;
    const process = this.host.begin();
    this.isBroken = false;
    world.log(`${this.host.name} starts`);
    const failed = (error: Error) => {
      if (process.alive) this.#stopped(error);
    };
    world.turn(process, () => {
      runMetaServer({
        volume,
        region: this.region,
        member: this.member,
        dataDir: "/data/meta",
        join: this.#join,
        logger: loggerOf(world, this.host.name),
        tuning: { sessionTimeoutMs: 120_000 },
        groupTuning: profile.group,
        onFatal: failed,
      }).then((running) => {
        if (process.alive) this.running = running;
      }, failed);
    });
  }

  /** Kills the process; with `power` the host loses its power too, and the disk what was not synced. */
  crash(power: boolean): void {
    const { process } = this.host;
    if (process === undefined) return;
    this.host.world.log(`${this.host.name} ${power ? "loses power" : "is killed"}`);
    this.#end(power);
    this.disk.crashed(process);
    if (power) this.disk.powerFailed(process);
  }

  /** A graceful stop, as on SIGTERM: the server hands over its leadership and exits. */
  async stop(): Promise<void> {
    const { running } = this;
    if (running === undefined) return;
    this.host.world.log(`${this.host.name} stops gracefully`);
    this.running = undefined;
    await running.stop();
    this.#end(false);
  }

  /** Its disk is lost with all that is on it, and replaced by an empty one. Started anew as the operations page says: without `--join`. */
  replaceDisk(): void {
    const { delayMsMax, onDurable } = this.disk;
    this.disk = attachDisk(this.host);
    Object.assign(this.disk, { delayMsMax, onDurable });
    this.disk.makeDirectory("/data");
    this.#join = false;
  }

  #end(silent: boolean): void {
    this.running = undefined;
    this.host.end(silent);
  }

  #stopped(error: Error): void {
    const { world } = this.host;
    world.log(`${this.host.name} stops: ${error.message}`);
    if (this.disk.fault === "none") {
      world.reportViolation(new Violation("servers run", `${this.host.name} stopped by itself: ${error.stack}`));
      return;
    }
    this.isBroken = true;
    const { process } = this.host;
    this.#end(false);
    this.disk.crashed(process!);
  }
}

/** The metadata servers of both regions, and the volume they serve. */
export class Cluster {
  readonly world: World;
  readonly profile: Profile;
  readonly servers: SimulatedServer[];
  readonly volume: VolumeDescription;
  readonly #meta = new Map<Region, string[]>();

  constructor(world: World, profile: Profile) {
    this.world = world;
    this.profile = profile;
    const members = Array.from({ length: MEMBERS }, (_, index) => index + 1);
    const describe = (name: Region) => {
      const meta = members.map((member) => addressOf(name, member));
      this.#meta.set(name, meta);
      return { name, meta, bucket: `file:///${name}`, queue: `redis://${name}:6379` };
    };
    this.volume = {
      volume: "simulated",
      regions: new Map(REGIONS.map((name) => [name, describe(name)])),
      primary: REGIONS[0],
      changelog: profile.changelog,
      startAlone: profile.startAlone,
      startAloneWaitMs: profile.startAloneWaitMs,
      gc: { graceMs: 0 },
      ...(profile.clockDriftPercent === undefined
        ? {}
        : { readLease: { clockDriftPercent: profile.clockDriftPercent } }),
    };
    this.servers = REGIONS.flatMap((region) => members.map((member) => new SimulatedServer(this, region, member)));
  }

  /** Adds a host that will join a region's group as its next member, and its address to the volume's description. */
  addSpare(region: Region): SimulatedServer {
    const meta = this.#meta.get(region)!;
    const spare = new SimulatedServer(this, region, meta.length + 1, true);
    meta.push(spare.address);
    this.servers.push(spare);
    return spare;
  }

  of(region: Region): readonly SimulatedServer[] {
    return this.servers.filter((server) => server.region === region);
  }
}

function addressOf(region: Region, member: number): string {
  return `${region}-${member}:7400`;
}

/** A logger that writes to the transcript. */
export function loggerOf(world: World, name: string): Logger {
  const write = (level: string) => (first: unknown, second?: string) => {
    const message = typeof first === "string" ? first : second;
    world.log(`${name} ${level}: ${message ?? ""}${typeof first === "string" ? "" : ` ${plain(first)}`}`);
  };
  const nothing = () => {};
  const logger = { trace: nothing, debug: nothing } as Record<string, unknown>;
  for (const level of ["info", "warn", "error", "fatal"]) logger[level] = write(level);
  logger.child = () => logger;
  return logger as unknown as Logger;
}

function plain(value: unknown): string {
  return value instanceof Error ? (value.stack ?? value.message) : JSON.stringify(value);
}
