import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { UserError } from "../base/user-error.ts";
import { type Places, type Ports, REGIONS, type RegionName } from "./layout.ts";
import { choosePorts, isFree } from "./ports.ts";

/** What a sandbox's directory remembers, so that it can be started again. */
export interface Settings {
  readonly replicas: Readonly<Record<RegionName, number>>;
  readonly buckets: "cloud" | "file";
  readonly ports: Ports;
  readonly aws: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export type Wished = Pick<Settings, "replicas" | "buckets">;

/**
 * The settings that a directory was made with, or new ones.
 * @throws UserError when other ones are wished than it was made with, or a port it needs is in use.
 */
export async function settle(places: Places, wished: Wished): Promise<Settings> {
  if (!existsSync(places.settings)) return await create(places, wished);
  const settings: Settings = JSON.parse(readFileSync(places.settings, "utf8"));
  if (JSON.stringify([settings.replicas, settings.buckets]) !== JSON.stringify([wished.replicas, wished.buckets])) {
    const made = `--replicas ${settings.replicas.aws} --mirror-replicas ${settings.replicas.gcp} --buckets ${settings.buckets}`;
    throw new UserError(`${places.settings}: was made with ${made}: start it so, or choose another --dir`, 2);
  }
  for (const port of REGIONS.flatMap((region) => portsOf(settings.ports[region]))) {
    if (!(await isFree(port))) {
      throw new UserError(
        `${places.settings}: port ${port} of 127.0.0.1 is in use: end what listens there, or choose another --dir`,
      );
    }
  }
  return settings;
}

function portsOf(region: Ports[RegionName]): number[] {
  return [...region.meta, region.bucket, region.queue];
}

async function create(places: Places, wished: Wished): Promise<Settings> {
  const free = await choosePorts(wished.replicas.aws + wished.replicas.gcp + 2 * REGIONS.length);
  const take = (count: number) => free.splice(0, count);
  const regionPorts = (region: RegionName) => ({
    meta: take(wished.replicas[region]),
    bucket: take(1)[0]!,
    queue: take(1)[0]!,
  });
  const settings: Settings = {
    ...wished,
    ports: { aws: regionPorts("aws"), gcp: regionPorts("gcp") },
    aws: {
      accessKeyId: `AKIA${randomBytes(8).toString("hex").toUpperCase()}`,
      secretAccessKey: randomBytes(20).toString("hex"),
    },
  };
  writeFileSync(places.settings, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 });
  return settings;
}
