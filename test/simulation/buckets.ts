import { type Cluster, REGIONS, type Region } from "./cluster.ts";
import { invariant } from "./environment/world.ts";
import type { Observers } from "./observe.ts";

/** The contents of each region's bucket, as slice ids. */
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

  /** Deletes a slice, and checks that no region's state or session can name it, now or later. */
  collect(region: Region, slice: number): void {
    for (const other of REGIONS) {
      const leader = this.#leader(other);
      invariant(
        "blocks are kept",
        leader?.machine?.tree.slice(slice as never) === undefined,
        () => `slice ${slice} is deleted in ${region} while the state of ${leader!.server.host.name} names it`,
      );
    }
    const { volumeChecker } = this.#observers;
    for (const session of volumeChecker.sessions) {
      const granted = volumeChecker.tree?.session(session)?.granted ?? [];
      invariant(
        "blocks are kept",
        !granted.some(({ first, count }) => slice >= first && slice < first + count),
        () => `slice ${slice} is deleted in ${region} while session ${session} may still name it`,
      );
    }
    if (this.#held.get(region)!.delete(slice)) this.collected++;
  }

  /** The region's leader of the highest term. */
  #leader(region: Region): ReturnType<Observers["stateOf"]> | undefined {
    let best: { readonly state: ReturnType<Observers["stateOf"]>; readonly term: number } | undefined;
    for (const server of this.#cluster.of(region)) {
      const state = this.#observers.stateOf(server);
      if (!server.isUp || state.process !== server.host.process || state.raft?.role !== "leader") continue;
      if (best === undefined || state.raft.term > best.term) best = { state, term: state.raft.term };
    }
    return best?.state;
  }
}
