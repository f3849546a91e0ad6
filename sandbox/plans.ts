import { createConnection } from "node:net";
import { fileURLToPath } from "node:url";
import { BUCKET, type Places, type RegionName } from "./layout.ts";
import { isMounted } from "./mounts.ts";
import type { Settings } from "./settings.ts";
import type { ProcessPlan } from "./supervisor.ts";

export interface PlanContext {
  readonly places: Places;
  readonly settings: Settings;
  /** Path of bin/mirrorfs. */
  readonly program: string;
}

const SERVICE_MS_MAX = 15_000;
/** Time for a group's first election and a mirror's first snapshot. */
const VOLUME_MS_MAX = 60_000;

/** Reads fail after this time: a bucket on this machine that does not answer by then is gone. */
const READ_MS_MAX = 10_000;

const SERVER: Record<RegionName, string> = {
  aws: fileURLToPath(new URL("./s3/main.ts", import.meta.url)),
  gcp: fileURLToPath(new URL("./gcs/main.ts", import.meta.url)),
};

/** A region's object store: the local S3 or GCS server. */
export function bucketPlan({ places, settings }: PlanContext, region: RegionName): ProcessPlan {
  const port = settings.ports[region].bucket;
  return {
    name: `${region}-bucket`,
    command: process.execPath,
    args: [SERVER[region], "--port", String(port), "--dir", places.bucket(region), "--bucket", BUCKET[region]],
    environment: awsCredentials(settings),
    ready: () => accepts(port),
    readyMsMax: SERVICE_MS_MAX,
  };
}

/** A region's Redis. Its content can be rebuilt from the metadata, so it persists nothing. */
export function queuePlan({ places, settings }: PlanContext, region: RegionName): ProcessPlan {
  const port = settings.ports[region].queue;
  const where = ["--port", String(port), "--bind", "127.0.0.1", "--dir", places.queue(region)];
  return {
    name: `${region}-queue`,
    command: "redis-server",
    args: [...where, "--save", "", "--appendonly", "no", "--daemonize", "no", "--maxmemory-policy", "noeviction"],
    ready: () => accepts(port),
    readyMsMax: SERVICE_MS_MAX,
  };
}

export function metaPlan(context: PlanContext, region: RegionName, id: number): ProcessPlan {
  const { places, settings } = context;
  return {
    name: `${region}-meta-${id}`,
    command: context.program,
    args: ["meta", "--region", region, "--id", String(id), "--data", places.meta(region, id)],
    environment: environmentOf(context, region),
    ready: () => accepts(settings.ports[region].meta[id - 1]!),
    readyMsMax: SERVICE_MS_MAX,
  };
}

export function agentPlan(context: PlanContext, region: RegionName): ProcessPlan {
  return {
    name: `${region}-agent`,
    command: context.program,
    args: ["agent", "--region", region],
    environment: environmentOf(context, region),
    ready: async () => true,
    readyMsMax: SERVICE_MS_MAX,
  };
}

export function mountPlan(context: PlanContext, region: RegionName): ProcessPlan {
  const dir = context.places.mountPoint(region);
  const options = `cacheDir=${context.places.cache(region)},readTimeoutMs=${READ_MS_MAX}`;
  return {
    name: `${region}-mount`,
    command: context.program,
    args: ["mount", dir, "--foreground", "--region", region, "-o", options],
    environment: environmentOf(context, region),
    ready: async () => isMounted(dir),
    readyMsMax: VOLUME_MS_MAX,
  };
}

/** The region's volume file, and the credentials of both clouds in the variables that their SDKs read. */
function environmentOf({ places, settings }: Omit<PlanContext, "program">, region: RegionName): Record<string, string> {
  return {
    MIRRORFS_CONFIG: places.regionFile(region),
    ...awsCredentials(settings),
    AWS_EC2_METADATA_DISABLED: "true",
    GOOGLE_APPLICATION_CREDENTIALS: places.googleKey(region),
  };
}

function awsCredentials({ aws }: Settings): Record<string, string> {
  return { AWS_ACCESS_KEY_ID: aws.accessKeyId, AWS_SECRET_ACCESS_KEY: aws.secretAccessKey };
}

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection({ port, host: "127.0.0.1" }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
