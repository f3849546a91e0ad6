import type { RegionDescription, VolumeDescription } from "../../config/volume-description.ts";
import { WanProxy } from "../../sandbox/wan-proxy.ts";

/** What a region's servers see of the other regions: a volume whose other addresses all go through one WAN link. */
export interface WanLink {
  readonly link: WanProxy;
  readonly view: VolumeDescription;
}

/** The link is fast until it is slowed down or cut. Only what the servers of `region` themselves send goes through it. */
export async function wanLink(volume: VolumeDescription, region: string): Promise<WanLink> {
  const far = [...volume.regions.values()].filter(({ name }) => name !== region).flatMap(({ meta }) => meta);
  const paths = far.map((address) => ({ target: { port: Number(address.split(":")[1]) } }));
  const { proxy, ports } = await WanProxy.start(paths, { delayMs: 0 });
  const seen = new Map(far.map((address, i) => [address, `127.0.0.1:${ports[i]}`]));
  const through = (it: RegionDescription) => ({ ...it, meta: it.meta.map((address) => seen.get(address) ?? address) });
  const regions = new Map([...volume.regions].map(([name, it]) => [name, through(it)]));
  return { link: proxy, view: { ...volume, regions } };
}
