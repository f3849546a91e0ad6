import type { SimulatedServer } from "../cluster.ts";
import type { FaultName } from "../profile.ts";
import { FaultContext, type FaultTargets } from "./context.ts";
import { LeadershipFaults } from "./leadership-faults.ts";
import { MembershipFaults } from "./membership-faults.ts";
import { NetworkFaults } from "./network-faults.ts";
import { ProcessFaults } from "./process-faults.ts";
import { RegionFaults } from "./region-faults.ts";

const RESTART_POLL_MS = 500;

/** Injects the faults of a run's profile at random times, and repairs everything at the end. */
export class FaultInjector {
  readonly #context: FaultContext;
  readonly #processes: ProcessFaults;
  readonly #network: NetworkFaults;
  readonly #leadership: LeadershipFaults;
  readonly #membership: MembershipFaults;
  readonly #regions: RegionFaults;
  readonly #hits = new Map<FaultName, number>();

  constructor(targets: FaultTargets) {
    const context = new FaultContext(targets);
    this.#context = context;
    this.#processes = new ProcessFaults(context);
    this.#network = new NetworkFaults(context);
    this.#leadership = new LeadershipFaults(context, this.#processes, this.#network);
    this.#membership = new MembershipFaults(context, this.#processes);
    this.#regions = new RegionFaults(context, this.#processes, this.#network);
    this.#processes.onBroken = (fault) => this.#hit(fault);
    context.network.wanMs = context.profile.wanMs;
    for (const server of context.cluster.servers) this.#processes.enableCrashPoints(server);
    context.observers.onElected = (server) => this.#leadership.onElected(server);
    context.observers.onBootstrap = (region) => this.#regions.onBootstrap(region);
  }

  /** How often each kind of fault hit something. */
  get hits(): ReadonlyMap<FaultName, number> {
    return this.#hits;
  }

  counts(): { readonly crashes: number; readonly memberChanges: number } {
    return { crashes: this.#processes.crashes, memberChanges: this.#membership.memberChanges };
  }

  begin(): void {
    const { cluster, network, prng, profile } = this.#context;
    this.#context.isActive = true;
    for (const { disk } of cluster.servers) disk.delayMsMax = prng.pick(profile.initialDiskDelaysMs);
    network.localMsMax = prng.pick(profile.networkDelaysMs);
    network.slowProbability = profile.slowProbability;
    this.#scheduleNext();
  }

  /** Ends the faults: repairs everything, and keeps every server running. */
  end(): void {
    const { cluster, network } = this.#context;
    this.#context.isActive = false;
    network.heal();
    network.lossProbability = 0;
    network.duplicateProbability = 0;
    network.slowProbability = 0;
    network.localMsMax = 2;
    for (const { host, disk } of cluster.servers) {
      disk.delayMsMax = 2;
      disk.fault = "none";
      host.pausedUntilMs = 0;
      host.rate = 1;
    }
    this.#context.log("the faults have ended");
    this.#keepRunning();
  }

  /** Orders of the operator while nothing fails: now and then a switchover, and a member that is replaced. */
  calm(): void {
    const { prng, cluster } = this.#context;
    if (prng.chance(0.5)) this.#regions.switchover();
    if (prng.chance(0.2)) this.#membership.change(prng.pick(cluster.servers).region);
  }

  /** Polls, since a graceful stop that began before the end may complete only now. */
  #keepRunning(): void {
    for (const server of this.#context.cluster.servers) {
      if (!server.isUp && !server.isRetired) server.start();
    }
    this.#context.world.after(RESTART_POLL_MS, () => this.#keepRunning());
  }

  #scheduleNext(): void {
    const { prng, profile } = this.#context;
    const { faultIntervalMsMax } = profile;
    this.#context.later(prng.between(faultIntervalMsMax / 10, faultIntervalMsMax), () => {
      this.#injectOne();
      this.#scheduleNext();
    });
  }

  /** Draws a kind of fault by its weight, and a server. */
  #injectOne(): void {
    const { cluster, prng, profile } = this.#context;
    const entries = Object.entries(profile.faults) as [FaultName, number][];
    let left = prng.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left > 0) continue;
      if (this.#faults[name](prng.pick(cluster.servers))) this.#hit(name);
      return;
    }
  }

  #hit(name: FaultName): void {
    this.#hits.set(name, (this.#hits.get(name) ?? 0) + 1);
  }

  /** Each injects its fault, and returns whether it hits anything; `false` also where that shows only later. */
  readonly #faults: { readonly [K in FaultName]: (server: SimulatedServer) => boolean } = {
    crash: (server) => this.#processes.crash(server),
    crashLeader: (server) => this.#processes.crash(this.#leaderNear(server)),
    destroyDisk: (server) => this.#processes.destroyDisk(server),
    powerFailure: (server) => this.#processes.powerFailure(server.region),
    gracefulStop: (server) => this.#processes.gracefulStop(server),
    pause: (server) => this.#pause(server),
    clockSkew: (server) => this.#skewClock(server),
    slowDisk: ({ disk, isUp }) => {
      disk.delayMsMax = this.#context.prng.pick(this.#context.profile.diskDelaysMs);
      return isUp;
    },
    fullDisk: (server) => this.#breakDisk(server, "full"),
    readError: (server) => this.#breakDisk(server, "read-error"),
    partition: () => this.#network.partition(),
    partitionRegions: () => this.#network.partitionRegions(this.#context.prng.pick(["aws", "gcp", "both"])),
    isolateLeader: (server) =>
      this.#network.isolate(this.#leaderNear(server), this.#context.prng.pick(["in", "out", "both"])),
    strandLeader: (server) => this.#network.strand(this.#leaderNear(server)),
    heal: () => this.#heal(),
    networkConditions: () => this.#network.changeConditions(),
    resetConnections: (server) => {
      const { cluster, network, prng } = this.#context;
      return network.reset(server.host, prng.pick(cluster.servers).host);
    },
    transferLeadership: (server) => this.#leadership.transfer(this.#leaderNear(server)),
    rivalCandidates: (server) => this.#leadership.rivalCandidates(this.#leaderNear(server)),
    memberChange: (server) => this.#membership.change(server.region),
    switchover: () => this.#regions.switchover(),
    promotion: () => this.#regions.promote(),
  };

  /** The leader of the server's region; the server itself while there is none. */
  #leaderNear(server: SimulatedServer): SimulatedServer {
    return this.#context.leaderOf(server.region) ?? server;
  }

  #breakDisk(server: SimulatedServer, fault: "full" | "read-error"): boolean {
    this.#processes.breakDisk(server, fault);
    return false;
  }

  #heal(): boolean {
    const isCut = !this.#context.network.isWhole;
    this.#network.heal();
    return isCut;
  }

  #pause({ host, isUp }: SimulatedServer): boolean {
    const { world, prng } = this.#context;
    host.pausedUntilMs = world.nowMs + prng.between(50, 4_000);
    world.log(`${host.name} is paused until ${Math.round(host.pausedUntilMs)}`);
    return isUp;
  }

  #skewClock({ host, isUp }: SimulatedServer): boolean {
    const { world, prng, clockRates, profile } = this.#context;
    const rates = profile.clockDriftPercent === undefined ? [0.5, 0.8, 1, 1, 1.3] : [1, clockRates.fastest];
    host.rate = prng.pick(rates);
    host.skewMs = prng.between(-5_000, 5_000);
    world.log(`${host.name}: its clock runs at rate ${host.rate}, ${Math.round(host.skewMs)} ms ahead`);
    return isUp;
  }
}
