import { randomUUID } from "node:crypto";
import type { RegionIndex } from "../../../core/ids.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Regions } from "../follower/regions.ts";

export interface Formatted {
  readonly ok: boolean;
  readonly message: string;
}

/** Formats the volume, with this region as its first primary. @returns whether the command was taken */
export async function format({ volume, region, proposer, logger, supports }: ServerContext): Promise<boolean> {
  const regions = [...volume.regions.keys()];
  const primary = regions.indexOf(region) as RegionIndex;
  const uuid = randomUUID();
  const named = { uuid, volume: volume.volume };
  const applied = await proposer.internal({ kind: "format", ...named, regions, primary, features: supports });
  if (applied?.taken) logger.info({ volume: volume.volume, uuid, regions }, "volume formatted");
  return applied?.taken ?? false;
}

/**
 * Formats the volume by an operator's order, who knows that the regions `without` hold none. Refused when a region within reach
 * holds it, or when another region does not answer.
 */
export async function formatWithout(
  context: ServerContext,
  regions: Regions,
  without: readonly string[],
): Promise<Formatted> {
  const { volume, region, machine } = context;
  const unknown = without.find((name) => !regions.others.includes(name));
  if (unknown !== undefined) return refuse(`${unknown} is not another region of the volume file`);
  if (machine.role !== "unformatted") return refuse(`${region} holds the volume already`);
  if (volume.primary !== region) return refuse(`${volume.primary} formats the volume, as its first region`);
  const { confirmed, missing } = await regions.confirmAll();
  const holder = [...confirmed.values()].find(({ uuid }) => uuid !== "");
  if (holder !== undefined) return refuse(`${holder.region} holds the volume already`);
  const silent = [...missing.keys()].filter((name) => !without.includes(name));
  if (silent.length > 0) {
    return refuse(`${silent.join(", ")} may hold the volume and does not answer: start its servers, or name it too`);
  }
  if (!(await format(context))) return refuse("the command was not committed: try again");
  return { ok: true, message: `volume ${volume.volume} is formatted; ${region} is its primary` };
}

function refuse(message: string): Formatted {
  return { ok: false, message: `not formatted: ${message}` };
}
