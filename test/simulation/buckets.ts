import { type Cluster, REGIONS, type Region } from "./cluster.ts";
import { invariant } from "./environment/world.ts";
import type { Observers } from "./observe.ts";

/** What each region's bucket holds: slices, by id. */
export class Buckets {
  readonly #held = new Map<Region, Set<number>>(REGIONS.map((region) => [region, new Set<number>()]));
  readonly #cluster: Cluster;
  readonly #observers: Observers;
  collected = 0;

  constructor(cluster: Cluster, observers: Observers) {
    this.#cluster = cluster;
    this.#observers = observers;
  }

  put(region: Region, slice: number): void {
    this.#held.get(region)!.add(slice);
  }

  has(region: Region, slice: number): boolean {
    return this.#held.get(region)!.has(slice);
  }

  hasAnywhere(slice: number): boolean {
    return REGIONS.some((region) => this.has(region, slice));
  }

  within(region: Region, first: number, count: number): number[] {
    return [...this.#held.get(region)!].filter((slice) => slice >= first && slice < first + count);
  }

  /** A block goes only when nobody who serves can name it, now or later. */
  collect(region: Region, slice: number): void {
    for (const other of REGIONS) {
      const leader = this.#leader(other);
      invariant(
        leader?.machine?.tree.slice(slice as never) === undefined,
        () => `slice ${slice} is collected in ${region} while ${leader!.server.host.name} names it`,
      );
    }
    const { volumeChecker } = this.#observers;
    for (const session of volumeChecker.sessions) {
      const granted = volumeChecker.tree?.session(session)?.granted ?? [];
      invariant(
        !granted.some(({ first, count }) => slice >= first && slice < first + count),
        () => `slice ${slice} is collected in ${region} while session ${session} may still name it`,
      );
    }
    if (this.#held.get(region)!.delete(slice)) this.collected++;
  }

  /** The member of a region that leads in the latest term. */
  #leader(region: Region): ReturnType<Observers["stateOf"]> | undefined {
    let best: { readonly seen: ReturnType<Observers["stateOf"]>; readonly term: number } | undefined;
    for (const server of this.#cluster.of(region)) {
      const seen = this.#observers.stateOf(server);
      if (!server.isUp || seen.process !== server.host.process || seen.raft?.role !== "leader") continue;
      if (best === undefined || seen.raft.term > best.term) best = { seen, term: seen.raft.term };
    }
    return best?.seen;
  }
}
