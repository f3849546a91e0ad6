import { join } from "node:path";
import { stringify } from "yaml";

/** The two regions of a sandbox: one behind the S3 protocol, one behind Google's. */
export const REGIONS = ["aws", "gcp"] as const;
export type RegionName = (typeof REGIONS)[number];
const PRIMARY: RegionName = "aws";

const VOLUME = "sandbox";
export const BUCKET: Record<RegionName, string> = { aws: "sandbox-aws", gcp: "sandbox-gcp" };

/** The ports of a region's servers, on 127.0.0.1. */
export interface RegionPorts {
  readonly meta: readonly number[];
  readonly bucket: number;
  readonly queue: number;
}

export type Ports = Readonly<Record<RegionName, RegionPorts>>;

/** The paths of a sandbox below its directory. */
export function placesIn(dir: string) {
  return {
    volumeFile: join(dir, "volume.yaml"),
    /** The volume file for the processes of a region: it reaches the other region through the WAN proxy. */
    regionFile: (region: RegionName) => join(dir, "regions", `${region}.yaml`),
    settings: join(dir, "sandbox.json"),
    mountPoint: (region: RegionName) => join(dir, "mnt", region),
    bucket: (region: RegionName) => join(dir, "buckets", region),
    meta: (region: RegionName, id: number) => join(dir, "meta", `${region}-${id}`),
    queue: (region: RegionName) => join(dir, "redis", region),
    cache: (region: RegionName) => join(dir, "cache", region),
    googleKey: (region: RegionName) => join(dir, "regions", `${region}-google.json`),
    logs: join(dir, "log"),
    run: join(dir, "run"),
  };
}

export type Places = ReturnType<typeof placesIn>;

/** The text of a volume file whose servers listen on `ports`. */
export function volumeYaml(ports: Ports, buckets: "cloud" | "file", places: Places): string {
  const bucketUrl: Record<RegionName, string> =
    buckets === "file"
      ? { aws: `file://${places.bucket("aws")}`, gcp: `file://${places.bucket("gcp")}` }
      : {
          aws: `s3://${BUCKET.aws}?region=us-east-1&endpoint=http://127.0.0.1:${ports.aws.bucket}`,
          gcp: `gs://${BUCKET.gcp}?endpoint=http://127.0.0.1:${ports.gcp.bucket}`,
        };
  const regions = REGIONS.map((name) => [
    name,
    {
      meta: ports[name].meta.map((port) => `127.0.0.1:${port}`),
      bucket: bucketUrl[name],
      queue: `redis://127.0.0.1:${ports[name].queue}`,
    },
  ]);
  return stringify({ volume: VOLUME, regions: Object.fromEntries(regions), primary: PRIMARY }, { lineWidth: 0 });
}
