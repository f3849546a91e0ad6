import { type Ports, REGIONS, type RegionName } from "./layout.ts";
import { WanProxy } from "./wan-proxy.ts";

/** The services that one region reaches in another. */
type Service = "meta" | "bucket";

/** The WAN between the regions: a proxy for each direction and service. */
export class Wan {
  readonly #proxies = new Map<string, WanProxy>();
  readonly #seenFrom = new Map<RegionName, Ports>();

  /** Opens a proxy from each region to every server of the other. */
  static async open(ports: Ports, delayMs: number): Promise<Wan> {
    const wan = new Wan();
    for (const from of REGIONS) {
      const to = from === "aws" ? "gcp" : "aws";
      const meta = await wan.#openPath(from, to, "meta", ports[to].meta, delayMs);
      const [bucket] = await wan.#openPath(from, to, "bucket", [ports[to].bucket], delayMs);
      wan.#seenFrom.set(from, { ...ports, [to]: { ...ports[to], meta, bucket: bucket! } });
    }
    return wan;
  }

  /** The ports by which a region reaches all servers: its own directly, the other region's through the WAN. */
  portsSeenFrom(region: RegionName): Ports {
    return this.#seenFrom.get(region)!;
  }

  /** Cuts a region off from the other region's bucket, until `heal`. */
  cutBucket(from: RegionName, to: RegionName): void {
    this.#proxies.get(pathName(from, to, "bucket"))!.partition("both", "reset");
  }

  /** Cuts the regions off from each other, until `heal`. */
  cutAll(): void {
    for (const proxy of this.#proxies.values()) proxy.partition("both", "reset");
  }

  /** Sets the delay of every path, in each direction. */
  setDelay(delayMs: number): void {
    for (const proxy of this.#proxies.values()) proxy.setDelay(delayMs);
  }

  heal(): void {
    for (const proxy of this.#proxies.values()) proxy.heal();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.stop()));
  }

  async #openPath(
    from: RegionName,
    to: RegionName,
    service: Service,
    ports: readonly number[],
    delayMs: number,
  ): Promise<number[]> {
    const paths = ports.map((port) => ({ target: { port } }));
    const { proxy, ports: listening } = await WanProxy.start(paths, { delayMs });
    this.#proxies.set(pathName(from, to, service), proxy);
    return listening;
  }
}

function pathName(from: RegionName, to: RegionName, service: Service): string {
  return `${from} to ${to}'s ${service}`;
}
