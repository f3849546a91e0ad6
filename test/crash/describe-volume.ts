import type { VolumeDescription } from "../../config/volume-description.ts";

/** A volume of metadata servers alone; its first region is the primary. No changelog is retained for mirrors. */
export function describeVolume(meta: Readonly<Record<string, readonly string[]>>): VolumeDescription {
  const regions = Object.entries(meta).map(([name, addresses]) => {
    const region = { name, meta: addresses, bucket: `file:///nowhere/${name}`, queue: "redis://127.0.0.1:1" };
    return [name, region] as const;
  });
  return {
    volume: "test",
    regions: new Map(regions),
    primary: regions[0]![0],
    changelog: { retainHours: 0, retainGib: 0 },
    startAlone: "serve",
    startAloneWaitMs: 0,
    gc: { graceMs: 0 },
  };
}
