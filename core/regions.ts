/** The volume's table of regions. */

import type { Volume, VolumeRegion } from "./codec/records.ts";
import type { RegionIndex, Sequence } from "./ids.ts";

/** The table of a new volume. `since`: the sequence of `format`. */
export function newRegions(names: readonly string[], since: Sequence): VolumeRegion[] {
  return names.map((name) => ({ name, state: "active", since }));
}

/** By region index; empty before `format`. */
export function regionNames(volume: Volume | undefined): string[] {
  return (volume?.regions ?? []).map(({ name }) => name);
}

/** Undefined before `format`, or if the volume has no such region. */
export function regionIndex(volume: Volume | undefined, name: string): RegionIndex | undefined {
  const index = regionNames(volume).indexOf(name);
  return index === -1 ? undefined : (index as RegionIndex);
}
