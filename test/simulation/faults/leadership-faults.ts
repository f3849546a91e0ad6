import type { Region, SimulatedServer } from "../cluster.ts";
import type { FaultContext } from "./context.ts";
import type { NetworkFaults } from "./network-faults.ts";
import type { ProcessFaults } from "./process-faults.ts";

/** Transfers of leadership, rival candidates, and leaders that fail right after their election. */
export class LeadershipFaults {
  readonly #context: FaultContext;
  readonly #processes: ProcessFaults;
  readonly #network: NetworkFaults;
  /** The server whose vote decides between two rival candidates. */
  readonly #deciders = new Map<Region, SimulatedServer>();

  constructor(context: FaultContext, processes: ProcessFaults, network: NetworkFaults) {
    this.#context = context;
    this.#processes = processes;
    this.#network = network;
  }

  transfer(server: SimulatedServer): boolean {
    const leader = this.#leading(server);
    if (leader === undefined) return false;
    const to = this.#context.prng.pick(this.#othersThan(server)).member;
    this.#context.log(`${server.host.name} transfers leadership to ${to}`);
    this.#context.world.turn(leader.process, () => leader.raft.step({ type: "transfer", to }));
    return true;
  }

  /** Makes both followers candidates at the same time: the old leader's vote decides between them. */
  rivalCandidates(server: SimulatedServer): boolean {
    const { prng, world } = this.#context;
    const leader = this.#leading(server);
    if (leader === undefined) return false;
    this.#context.log(`${server.host.name} transfers leadership to both others`);
    const others = this.#othersThan(server);
    const hosts = others.map(({ host }) => host);
    for (const { member } of others)
      world.turn(leader.process, () => leader.raft.step({ type: "transfer", to: member }));
    this.#network.cutWhere((from, to) => hosts.includes(from) && hosts.includes(to)); // neither sees the other's campaign
    world.after(prng.between(400, 1_200), () => this.#network.heal());
    for (const { disk } of [server, ...others]) disk.delayMsMax = 2;
    others[prng.below(others.length)]!.disk.delayMsMax = 300; // slow to persist its own vote, so it campaigns late
    this.#deciders.set(server.region, server);
    return true;
  }

  /** The first moments of a term are the most dangerous ones: crash the new leader there. */
  onElected(server: SimulatedServer): void {
    const { prng, profile, network } = this.#context;
    this.#onDecided(server.region);
    if (!this.#context.isActive || !prng.chance(profile.newLeaderCrashProbability)) return;
    const isIsolated = prng.chance(0.6);
    if (isIsolated) this.#network.isolate(server, "out"); // its first entries reach no follower
    this.#context.later(prng.between(0, 3 * network.localMsMax), () => {
      this.#processes.crash(server);
      if (isIsolated) this.#network.heal();
    });
  }

  /** One of two rivals has won: the server that decided restarts before the other one asks for its vote. */
  #onDecided(region: Region): void {
    const decider = this.#deciders.get(region);
    this.#deciders.delete(region);
    if (decider === undefined) return;
    this.#context.later(this.#context.prng.between(0, 15), () => this.#processes.bounce(decider));
  }

  #othersThan(server: SimulatedServer): readonly SimulatedServer[] {
    return this.#context.cluster.of(server.region).filter((other) => other !== server);
  }

  #leading(server: SimulatedServer) {
    const { raft } = this.#context.observers.stateOf(server);
    const { process } = server.host;
    return raft?.role === "leader" && process !== undefined ? { raft, process } : undefined;
  }
}
