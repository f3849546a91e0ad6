import { type Ports, REGIONS, type RegionName } from "./layout.ts";
import { WanProxy } from "./wan-proxy.ts";

/** What leads from one region to another: its metadata servers, its bucket. */
type Service = "meta" | "bucket";

/** Every path between the regions, each way through a proxy of its own. */
export class Wan {
  readonly #proxies = new Map<string, WanProxy>();
  readonly #seenFrom = new Map<RegionName, Ports>();

  /** Opens a path from each region to every server of the other. */
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

  /** Where the servers are for a region: its own ones directly, the other's behind the WAN. */
  portsSeenFrom(region: RegionName): Ports {
    return this.#seenFrom.get(region)!;
  }

  /** Nothing passes any more from a region to the other's bucket. */
  cutBucket(from: RegionName, to: RegionName): void {
    this.#proxies.get(pathName(from, to, "bucket"))!.partition("both", "reset");
  }

  /** Nothing passes between the regions any more. */
  cutAll(): void {
    for (const proxy of this.#proxies.values()) proxy.partition("both", "reset");
  }

  /** Of every path, each way, from now on. */
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
