import { epochRegion, NO_VERSION } from "../../../core/ids.ts";
import { type Cluster, REGIONS, type Region, type SimulatedServer } from "../cluster.ts";
import type { Network } from "../environment/network.ts";
import type { Prng } from "../environment/prng.ts";
import type { World } from "../environment/world.ts";
import type { Observers } from "../observe.ts";
import type { Operator } from "../operator.ts";
import type { Profile } from "../profile.ts";

export interface FaultTargets {
  readonly cluster: Cluster;
  readonly network: Network;
  readonly observers: Observers;
  readonly operator: Operator;
}

/** What every kind of fault works on. */
export class FaultContext {
  readonly cluster: Cluster;
  readonly network: Network;
  readonly observers: Observers;
  readonly operator: Operator;
  /** Whether faults are being injected: nothing new breaks once they have ended. */
  isActive = false;

  constructor({ cluster, network, observers, operator }: FaultTargets) {
    this.cluster = cluster;
    this.network = network;
    this.observers = observers;
    this.operator = operator;
  }

  get world(): World {
    return this.cluster.world;
  }

  get prng(): Prng {
    return this.cluster.world.prng;
  }

  get profile(): Profile {
    return this.cluster.profile;
  }

  log(line: string): void {
    this.world.log(line);
  }

  /** Runs after `ms` of virtual time, unless the faults have ended by then. */
  later(ms: number, run: () => void): void {
    this.world.after(ms, () => {
      if (this.isActive) run();
    });
  }

  /** The rates that the clocks of servers may run at: with read leases they keep within the promised drift. */
  get clockRates(): { readonly slowest: number; readonly fastest: number } {
    const { clockDriftPercent } = this.profile;
    return clockDriftPercent === undefined
      ? { slowest: 0.1, fastest: 1.3 }
      : { slowest: 1, fastest: 1 + clockDriftPercent / 100 };
  }

  leaderOf(region: Region): SimulatedServer | undefined {
    return this.cluster
      .of(region)
      .find((server) => server.isUp && this.observers.stateOf(server).raft?.role === "leader");
  }

  /** The region of the latest epoch. */
  primary(): Region {
    return REGIONS[epochRegion(this.observers.volumeChecker.tip?.epoch ?? NO_VERSION.epoch)]!;
  }
}
