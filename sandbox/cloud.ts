import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { PRIVATE_DIRECTORY } from "../base/private-files.ts";
import { UserError } from "../base/user-error.ts";
import { type Places, placesIn, REGIONS, type RegionName, volumeYaml } from "./layout.ts";
import { isMounted, unmountLazily } from "./mounts.ts";
import { agentPlan, bucketPlan, metaPlan, mountPlan, type PlanContext, queuePlan } from "./plans.ts";
import { ensure } from "./prerequisites.ts";
import { processesNaming } from "./processes.ts";
import { type Settings, settle } from "./settings.ts";
import { Supervisor } from "./supervisor.ts";
import { Wan } from "./wan.ts";

export interface CloudOptions {
  /** Kept at the end. By default a temporary directory, which is removed. */
  readonly dir?: string;
  readonly replicas: number;
  readonly mirrorReplicas: number;
  /** Delay in each direction on every path between the regions. 0: no proxy. */
  readonly wanMs: number;
  readonly buckets: "cloud" | "file";
  /** Path of bin/mirrorfs. */
  readonly program: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Receives progress messages, one line each. */
  readonly report: (line: string) => void;
}

/**
 * A complete two-region volume on this machine: object stores, Redis, metadata servers, agents and mounts, each a
 * process.
 */
export class Cloud {
  readonly dir: string;
  readonly places: Places;
  readonly supervisor: Supervisor;
  readonly #options: CloudOptions;
  #wan: Wan | undefined;
  #settings: Settings | undefined;
  #stopped: Promise<void> | undefined;

  /** @throws UserError when another running sandbox uses the directory. */
  constructor(options: CloudOptions) {
    this.#options = options;
    this.dir = options.dir === undefined ? mkdtempSync(join(tmpdir(), "mirrorfs-")) : resolve(options.dir);
    this.places = placesIn(this.dir);
    claim(this.places);
    const { environment, report } = options;
    this.supervisor = new Supervisor({ logDir: this.places.logs, runDir: this.places.run, environment, report });
  }

  /** The WAN between the regions. @throws Error without `wanMs`. */
  get wan(): Wan {
    if (this.#wan === undefined) throw new Error("there is no WAN between the regions");
    return this.#wan;
  }

  /** The supervisor's names of a region's metadata servers. */
  metaNames(region: RegionName): readonly string[] {
    return this.#settings!.ports[region].meta.map((_, i) => `${region}-meta-${i + 1}`);
  }

  /** The supervisor's names of all processes of a region, including its object store and its mount. */
  regionNames(region: RegionName): readonly string[] {
    const services = this.#options.buckets === "cloud" ? [`${region}-queue`, `${region}-bucket`] : [`${region}-queue`];
    return [...services, ...this.metaNames(region), `${region}-agent`, `${region}-mount`];
  }

  /** Starts all processes in order; resolves when both volumes are mounted. @throws UserError when one cannot start. */
  async start(): Promise<void> {
    ensure(this.#options.environment);
    if (!existsSync("/dev/fuse"))
      throw new UserError("no /dev/fuse: load the kernel module (modprobe fuse), or pass the device to the container");
    const { buckets, replicas, mirrorReplicas } = this.#options;
    const settings = await settle(this.places, { replicas: { aws: replicas, gcp: mirrorReplicas }, buckets });
    this.#settings = settings;
    this.#makeDirectories(settings);
    if (this.#options.wanMs > 0) this.#wan = await Wan.open(settings.ports, this.#options.wanMs);
    this.#writeVolumeFiles(settings);
    const context: PlanContext = { places: this.places, settings, program: this.#options.program };
    const clouds = buckets === "cloud" ? REGIONS.map((region) => bucketPlan(context, region)) : [];
    await this.supervisor.start(...clouds, ...REGIONS.map((region) => queuePlan(context, region)));
    if (buckets === "cloud") this.#writeGoogleKeys(settings);
    const metas = REGIONS.flatMap((region) =>
      settings.ports[region].meta.map((_, i) => metaPlan(context, region, i + 1)),
    );
    await this.supervisor.start(...metas);
    await this.supervisor.start(...REGIONS.map((region) => agentPlan(context, region)));
    await this.supervisor.start(...REGIONS.map((region) => mountPlan(context, region)));
  }

  /** Unmounts, ends every process and removes temporary files. Idempotent; may be called while `start` is running. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.supervisor.stopAll();
    const mountPoints = REGIONS.map((region) => this.places.mountPoint(region));
    for (const dir of mountPoints) unmountLazily(dir);
    await this.#wan?.close();
    rmSync(this.places.run, { recursive: true, force: true });
    // Never delete through a mount that is still there.
    if (this.#options.dir === undefined && !mountPoints.some(isMounted))
      rmSync(this.dir, { recursive: true, force: true });
  }

  /** After `stop`: processes, mounts and files that should be gone but are not, one line each. */
  leftovers(): string[] {
    const mounts = REGIONS.map((region) => this.places.mountPoint(region)).filter(isMounted);
    const temporary = this.#options.dir === undefined && existsSync(this.dir) ? [`${this.dir} still exists`] : [];
    return [
      ...processesNaming(this.dir).map((it) => `process ${it} is still running`),
      ...mounts.map((dir) => `${dir} is still mounted`),
      ...temporary,
    ];
  }

  #makeDirectories(settings: Settings): void {
    const { places } = this;
    for (const name of ["buckets", "meta", "redis", "cache", "regions"]) makePrivate(join(this.dir, name));
    for (const region of REGIONS) {
      const metas = settings.ports[region].meta.map((_, i) => places.meta(region, i + 1));
      for (const dir of [places.bucket(region), places.queue(region), places.cache(region), ...metas]) makePrivate(dir);
      unmountLazily(places.mountPoint(region));
      mkdirSync(places.mountPoint(region), { recursive: true });
    }
  }

  #writeVolumeFiles(settings: Settings): void {
    const { places } = this;
    const { buckets } = this.#options;
    writeFileSync(places.volumeFile, volumeYaml(settings.ports, buckets, places));
    for (const region of REGIONS) {
      writeFileSync(places.regionFile(region), volumeYaml(this.#portsSeenFrom(region, settings), buckets, places));
    }
  }

  /**
   * Writes each region's service account key for the GCS server. Its token_uri is on the same path (through the WAN
   * or not) as the bucket.
   */
  #writeGoogleKeys(settings: Settings): void {
    const key = JSON.parse(readFileSync(join(this.places.bucket("gcp"), "service-account.json"), "utf8"));
    for (const region of REGIONS) {
      const token_uri = `http://127.0.0.1:${this.#portsSeenFrom(region, settings).gcp.bucket}/token`;
      writeFileSync(this.places.googleKey(region), JSON.stringify({ ...key, token_uri }), { mode: 0o600 });
    }
  }

  #portsSeenFrom(region: RegionName, settings: Settings) {
    return this.#wan?.portsSeenFrom(region) ?? settings.ports;
  }
}

/** Claims the directory for this process. @throws UserError while another sandbox is running in it. */
function claim(places: Places): void {
  const path = join(places.run, "up.pid");
  const owner = existsSync(path) ? Number(readFileSync(path, "utf8")) : 0;
  if (owner > 0 && owner !== process.pid && existsSync(`/proc/${owner}`)) {
    throw new UserError(`${places.run}: process ${owner} runs a sandbox there: end it first, or choose another --dir`);
  }
  for (const dir of [places.logs, places.run]) makePrivate(dir);
  writeFileSync(path, `${process.pid}\n`);
}

/** Makes a directory that only its owner may enter, or narrows an existing one. */
function makePrivate(dir: string): void {
  mkdirSync(dir, { recursive: true });
  chmodSync(dir, PRIVATE_DIRECTORY);
}
