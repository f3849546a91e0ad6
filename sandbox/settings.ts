import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { UserError } from "../base/user-error.ts";
import { type Places, type Ports, REGIONS, type RegionName } from "./layout.ts";
import { choosePorts, isFree } from "./ports.ts";

/** The settings stored in a sandbox's directory, so that it can be restarted. */
export interface Settings {
  readonly replicas: Readonly<Record<RegionName, number>>;
  readonly buckets: "cloud" | "file";
  readonly ports: Ports;
  readonly aws: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export type SettingsRequest = Pick<Settings, "replicas" | "buckets">;

/**
 * Reads the settings of a sandbox's directory, or creates them.
 * @throws UserError when the directory was created with other options, or one of its ports is in use.
 */
export async function settle(places: Places, requested: SettingsRequest): Promise<Settings> {
  if (!existsSync(places.settings)) return await create(places, requested);
  const settings: Settings = JSON.parse(readFileSync(places.settings, "utf8"));
  if (
    JSON.stringify([settings.replicas, settings.buckets]) !== JSON.stringify([requested.replicas, requested.buckets])
  ) {
    const created = `--replicas ${settings.replicas.aws} --mirror-replicas ${settings.replicas.gcp} --buckets ${settings.buckets}`;
    throw new UserError(
      `${places.settings}: was created with ${created}: use the same options, or choose another --dir`,
      2,
    );
  }
  for (const port of REGIONS.flatMap((region) => portsOf(settings.ports[region]))) {
    if (!(await isFree(port))) {
      throw new UserError(
        `${places.settings}: port ${port} of 127.0.0.1 is in use: stop what listens there, or choose another --dir`,
      );
    }
  }
  return settings;
}

function portsOf(region: Ports[RegionName]): number[] {
  return [...region.meta, region.bucket, region.queue];
}

async function create(places: Places, requested: SettingsRequest): Promise<Settings> {
  const free = await choosePorts(requested.replicas.aws + requested.replicas.gcp + 2 * REGIONS.length);
  const take = (count: number) => free.splice(0, count);
  const regionPorts = (region: RegionName) => ({
    meta: take(requested.replicas[region]),
    bucket: take(1)[0]!,
    queue: take(1)[0]!,
  });
  const settings: Settings = {
    ...requested,
    ports: { aws: regionPorts("aws"), gcp: regionPorts("gcp") },
    aws: {
      accessKeyId: `AKIA${randomBytes(8).toString("hex").toUpperCase()}`,
      secretAccessKey: randomBytes(20).toString("hex"),
    },
  };
  writeFileSync(places.settings, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 });
  return settings;
}
