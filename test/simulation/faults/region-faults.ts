import type { Region } from "../cluster.ts";
import type { FaultContext } from "./context.ts";
import type { NetworkFaults } from "./network-faults.ts";
import type { ProcessFaults } from "./process-faults.ts";

/** Changes of the primary region: switchovers, and promotions by force. */
export class RegionFaults {
  readonly #context: FaultContext;
  readonly #processes: ProcessFaults;
  readonly #network: NetworkFaults;

  constructor(context: FaultContext, processes: ProcessFaults, network: NetworkFaults) {
    this.#context = context;
    this.#processes = processes;
    this.#network = network;
  }

  switchover(): boolean {
    const from = this.#context.primary();
    this.#context.operator.switchover(from, otherThan(from));
    return true;
  }

  /** The primary is cut off or loses its power (or an operator makes a mistake), and the mirror is promoted. */
  promote(): boolean {
    const { operator, prng, world } = this.#context;
    const primary = this.#context.primary();
    const reason = prng.pick(["partition", "powerFailure", "mistake"]);
    if (reason === "powerFailure") this.#processes.powerFailure(primary);
    if (reason === "partition") {
      this.#network.partitionRegions("both");
      world.after(prng.between(3_000, 12_000), () => this.#network.heal());
    }
    this.#context.later(prng.between(50, 3_000), () => operator.promote(otherThan(primary)));
    return true;
  }

  /** Promotes a mirror while it is bootstrapping from a snapshot. */
  onBootstrap(region: Region): void {
    const { operator, prng, profile } = this.#context;
    if (!this.#context.isActive || profile.faults.promotion === undefined || !prng.chance(0.3)) return;
    operator.promote(region);
  }
}

function otherThan(region: Region): Region {
  return region === "aws" ? "gcp" : "aws";
}
