import type { SimulatedServer } from "../cluster.ts";
import { hasDisk } from "../environment/disk.ts";
import type { Host } from "../environment/world.ts";
import type { FaultContext } from "./context.ts";

/** The client that stays connected to a stranded leader. */
export const READER = "reader-1";
/** More than a heartbeat interval: at least one response is in flight when the rest is cut. */
const LATE_MS = 150;

/** Partitions, and the quality of the links. */
export class NetworkFaults {
  readonly #context: FaultContext;

  constructor(context: FaultContext) {
    this.#context = context;
  }

  heal(): void {
    this.#context.network.heal();
    this.#context.log("the network is healed");
  }

  /** Splits all hosts into two random halves. */
  partition(): boolean {
    const { world, prng } = this.#context;
    const side = new Map([...world.hosts.keys()].map((name) => [name, prng.chance(0.5)]));
    this.cutWhere((from, to) => side.get(from.name) !== side.get(to.name));
    const minority = [...side].filter(([, isApart]) => isApart).map(([name]) => name);
    this.#context.log(`partition: ${minority.join(", ")} from the rest`);
    return !this.#context.network.isWhole;
  }

  /** Cuts one server's incoming or outgoing links, or both; other cuts stay. */
  isolate(server: SimulatedServer, direction: "in" | "out" | "both"): boolean {
    this.#context.log(`${server.host.name} is isolated: ${direction}`);
    this.#cut(
      (from, to) => (direction !== "out" && to === server.host) || (direction !== "in" && from === server.host),
    );
    return server.isUp;
  }

  /** Cuts what one region sends to the other, or both directions. */
  partitionRegions(direction: "aws" | "gcp" | "both"): boolean {
    this.#context.log(`partition between the regions: ${direction}`);
    this.cutWhere((from, to) => from.region !== to.region && (direction === "both" || from.region === direction));
    return true;
  }

  changeConditions(): boolean {
    const { network, prng, profile } = this.#context;
    network.lossProbability = prng.pick([0, 0, 0.05, 0.3]);
    network.duplicateProbability = prng.pick([0, 0.1]);
    network.localMsMax = prng.pick(profile.networkDelaysMs);
    this.#context.log(`network: loss ${network.lossProbability}, delay up to ${network.localMsMax} ms`);
    return true;
  }

  /**
   * Cuts a leader off from all but one reader, with a clock too slow to notice that its followers are gone. Responses
   * that its peers had sent before the cut may stay in flight, and arrive when another leader has been elected.
   */
  strand({ host, isUp }: SimulatedServer): boolean {
    const { cluster, network, prng, world } = this.#context;
    this.#context.log(`${host.name} is stranded, with a slow clock`);
    const peers = cluster.servers.map((server) => server.host);
    const isLate = prng.chance(0.6);
    const untilMs = world.nowMs + prng.between(1_500, 4_000);
    if (isLate) for (const peer of peers) network.delayUntil(peer.name, host.name, untilMs);
    this.#context.later(isLate ? LATE_MS : 0, () => this.#strand(host, isLate ? peers : []));
    return isUp;
  }

  #strand(host: Host, stillHeard: readonly Host[]): void {
    const { network, prng, world } = this.#context;
    const { slowest, fastest } = this.#context.clockRates;
    const peers = this.#context.cluster.servers.map((server) => server.host).filter((peer) => peer !== host);
    host.rate = slowest;
    if (this.#context.profile.clockDriftPercent !== undefined) for (const peer of peers) peer.rate = fastest;
    const isOther = ({ name }: Host) => name !== READER && (prng.chance(0.9) || !name.startsWith("client"));
    const others = [...world.hosts.values()].filter((other) => other !== host && isOther(other));
    const isCutFrom = (from: Host, to: Host) => to === host && others.includes(from) && !stillHeard.includes(from);
    this.cutWhere((from, to) => (from === host && others.includes(to)) || isCutFrom(from, to));
    const isReset = prng.chance(0.7);
    for (const other of others) if (isReset && !hasDisk(other)) network.reset(host, other);
    world.after(prng.between(2_000, 12_000), () => {
      for (const one of [host, ...peers]) one.rate = 1;
      this.heal();
    });
  }

  /** Heals the network, then cuts these directions. */
  cutWhere(isCut: (from: Host, to: Host) => boolean): void {
    this.#context.network.heal();
    this.#cut(isCut);
  }

  #cut(isCut: (from: Host, to: Host) => boolean): void {
    const { network, world } = this.#context;
    for (const from of world.hosts.values()) {
      for (const to of world.hosts.values()) if (isCut(from, to)) network.cut(from.name, to.name);
    }
  }
}
