import type { Region, SimulatedServer } from "../cluster.ts";
import type { FaultContext } from "./context.ts";
import type { ProcessFaults } from "./process-faults.ts";

/** Of a region, over the whole run. */
const SERVERS_MAX = 6;
const CHANGE_ATTEMPTS = 6;

/** Replaces members of a region's group by new servers, one at a time. */
export class MembershipFaults {
  readonly #context: FaultContext;
  readonly #processes: ProcessFaults;
  readonly #changing = new Set<Region>();
  /** Servers that have started but are not members yet. */
  readonly #spares = new Map<Region, SimulatedServer>();
  memberChanges = 0;

  constructor(context: FaultContext, processes: ProcessFaults) {
    this.#context = context;
    this.#processes = processes;
  }

  /** Adds a new server as a learner, promotes it, and removes a member. Each step may fail, and is retried. */
  change(region: Region): boolean {
    const { cluster, operator, world } = this.#context;
    const waiting = this.#spares.get(region);
    if (this.#changing.has(region) || (waiting === undefined && cluster.of(region).length >= SERVERS_MAX)) return false;
    this.#changing.add(region);
    const spare = waiting ?? this.#addSpare(region);
    world.turn(operator.host.process!, () => {
      this.#replace(region, spare).then(() => this.#changing.delete(region));
    });
    return true;
  }

  #addSpare(region: Region): SimulatedServer {
    const { cluster, observers } = this.#context;
    const spare = cluster.addSpare(region);
    observers.watch(spare);
    this.#processes.enableCrashPoints(spare);
    this.#spares.set(region, spare);
    spare.start();
    return spare;
  }

  async #replace(region: Region, spare: SimulatedServer): Promise<void> {
    const { cluster, observers, prng } = this.#context;
    if (!(await this.#step(region, "add", spare))) return; // it stays a spare: its number is still the next one
    this.#spares.delete(region);
    if (!(await this.#step(region, "promote", spare))) return;
    const removed = prng.pick(cluster.of(region).filter((server) => observers.isMember(server)));
    if (!(await this.#step(region, "remove", removed))) return;
    this.memberChanges++;
    await new Promise((resolve) => setTimeout(resolve, prng.between(100, 4_000)));
    removed.isRetired = true;
    removed.crash(true);
  }

  /** @returns whether the change was committed, as observed: the operator's own answer may be lost. */
  async #step(region: Region, change: "add" | "promote" | "remove", server: SimulatedServer): Promise<boolean> {
    const { observers, operator, prng } = this.#context;
    for (let attempt = 0; attempt < CHANGE_ATTEMPTS; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, prng.between(50, 1_000)));
      const { member, address } = server;
      await operator.changeMembers(region, change, member, address);
      const known = observers.configurations.get(region)?.members.find(({ id }) => id === member);
      if (change === "add" ? known !== undefined : change === "promote" ? known?.learner === false : !known)
        return true;
    }
    return false;
  }
}
