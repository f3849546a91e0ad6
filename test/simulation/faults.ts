import type { Region as RegionName } from "./cluster.ts";
import { type Cluster, REGIONS, type SimulatedServer } from "./cluster.ts";
import { hasDisk } from "./environment/disk.ts";
import type { Network } from "./environment/network.ts";
import type { Prng } from "./environment/prng.ts";
import type { Host, World } from "./environment/world.ts";
import type { Observers } from "./observe.ts";
import type { Operator } from "./operator.ts";
import type { FaultName, Profile } from "./profile.ts";

const KEEP_UP_MS = 500;
/** The client that stays with a leader that is left behind. */
export const READER = "reader-1";
/** Of a region, over the whole run. */
const SERVERS_MAX = 6;
const CHANGE_ATTEMPTS = 6;
/** More than a heartbeat: one answer at least is under way when the rest is cut. */
const LATE_MS = 150;

/** Everything that goes wrong in a run, and its end. */
export class Faults {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #network: Network;
  readonly #observers: Observers;
  readonly #operator: Operator;
  readonly #profile: Profile;
  #on = false;
  /** Who has the vote between two candidates. */
  readonly #deciders = new Map<RegionName, SimulatedServer>();
  readonly #changing = new Set<RegionName>();
  /** Servers that wait to be taken into a group. */
  readonly #spares = new Map<RegionName, SimulatedServer>();
  memberChanges = 0;
  crashes = 0;
  /** Servers that a broken disk has stopped. */
  broken = 0;

  constructor(parts: { cluster: Cluster; network: Network; observers: Observers; operator: Operator }) {
    this.#cluster = parts.cluster;
    this.#world = parts.cluster.world;
    this.#prng = this.#world.prng;
    this.#network = parts.network;
    this.#observers = parts.observers;
    this.#operator = parts.operator;
    this.#profile = parts.cluster.profile;
    this.#network.wanMs = this.#profile.wanMs;
    for (const server of this.#cluster.servers) this.#endanger(server);
    this.#observers.onElected = (server) => this.#elected(server);
    this.#observers.onBootstrap = (region) => this.#bootstraps(region);
  }

  #endanger(server: SimulatedServer): void {
    server.host.onCrashPoint = () => {
      if (!this.#on || !this.#prng.chance(this.#profile.crashPointProbability)) return;
      if (this.#prng.chance(0.15)) this.#powerLoss(server.region);
      else this.crash(server, this.#prng.chance(0.3));
    };
  }

  begin(): void {
    this.#on = true;
    for (const { disk } of this.#cluster.servers) {
      disk.delayMsMax = this.#prng.pick(this.#profile.initialDiskDelaysMs);
    }
    this.#network.localMsMax = this.#prng.pick(this.#profile.networkDelaysMs);
    this.#network.slowProbability = this.#profile.slowProbability;
    this.#next();
  }

  /** The faults are over: everything that was broken is mended. */
  end(): void {
    this.#on = false;
    this.#network.heal();
    this.#network.lossProbability = 0;
    this.#network.duplicateProbability = 0;
    this.#network.slowProbability = 0;
    this.#network.localMsMax = 2;
    for (const { host, disk } of this.#cluster.servers) {
      disk.delayMsMax = 2;
      disk.fault = "none";
      host.pausedUntilMs = 0;
      host.rate = 1;
    }
    this.#world.log("the faults are over");
    this.#keepUp();
  }

  /** Also a server that was told to stop, and comes to it only now. */
  #keepUp(): void {
    for (const server of this.#cluster.servers) {
      if (!server.isUp && !server.isRetired) server.start();
    }
    this.#world.after(KEEP_UP_MS, () => this.#keepUp());
  }

  #next(): void {
    const { faultIntervalMsMax } = this.#profile;
    this.#world.after(this.#prng.between(faultIntervalMsMax / 10, faultIntervalMsMax), () => {
      if (!this.#on) return;
      this.#strike();
      this.#next();
    });
  }

  #strike(): void {
    const entries = Object.entries(this.#profile.faults) as [FaultName, number][];
    let left = this.#prng.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left > 0) continue;
      this.#strikes[name](this.#prng.pick(this.#cluster.servers));
      return;
    }
  }

  readonly #strikes: { readonly [K in FaultName]: (server: SimulatedServer) => void } = {
    crash: (server) => this.crash(server, this.#prng.chance(0.3)),
    crashLeader: (server) => this.crash(this.#leader(server.region) ?? server, this.#prng.chance(0.3)),
    powerLoss: (server) => this.#powerLoss(server.region),
    partition: () => this.#partition(),
    isolateLeader: (server) =>
      this.#isolate(this.#leader(server.region) ?? server, this.#prng.pick(["in", "out", "both"])),
    leaveBehind: (server) => this.#leaveBehind(this.#leader(server.region) ?? server),
    cutRegions: () => this.#cutRegions(this.#prng.pick(["aws", "gcp", "both"])),
    heal: () => this.#heal(),
    weather: () => {
      this.#network.lossProbability = this.#prng.pick([0, 0, 0.05, 0.3]);
      this.#network.duplicateProbability = this.#prng.pick([0, 0.1]);
      this.#network.localMsMax = this.#prng.pick(this.#profile.networkDelaysMs);
      this.#world.log(`weather: ${this.#network.lossProbability} lost, up to ${this.#network.localMsMax} ms`);
    },
    slowDisk: ({ disk }) => {
      disk.delayMsMax = this.#prng.pick(this.#profile.diskDelaysMs);
    },
    fullDisk: (server) => this.#breakDisk(server, "full"),
    readError: (server) => this.#breakDisk(server, "read-error"),
    clock: ({ host }) => {
      host.rate = this.#prng.pick([0.5, 0.8, 1, 1, 1.3]);
      host.skewMs = this.#prng.between(-5_000, 5_000);
      this.#world.log(`${host.name}: its clock runs at ${host.rate}, ${Math.round(host.skewMs)} ms ahead`);
    },
    pause: ({ host }) => {
      host.pausedUntilMs = this.#world.nowMs + this.#prng.between(50, 4_000);
      this.#world.log(`${host.name} is held until ${Math.round(host.pausedUntilMs)}`);
    },
    transfer: (server) => this.#transfer(this.#leader(server.region) ?? server),
    transferTwice: (server) => this.#transferTwice(this.#leader(server.region) ?? server),
    stop: (server) => this.#stop(server),
    reset: (server) => {
      const other = this.#prng.pick(this.#cluster.servers);
      this.#network.reset(server.host, other.host);
    },
    switchover: () => {
      const from = this.#primary();
      this.#operator.switchover(from, from === "aws" ? "gcp" : "aws");
    },
    promotion: () => this.#promote(),
    members: (server) => this.#changeMembers(server.region),
  };

  crash(server: SimulatedServer, power: boolean): void {
    if (!server.isUp) return;
    this.crashes++;
    server.crash(power);
    this.#restart(server);
  }

  #restart(server: SimulatedServer): void {
    this.#world.after(this.#prng.pick(this.#profile.restartDelaysMs) * this.#prng.between(0.7, 1.3), () => {
      if (!server.isUp && this.#on && !server.isRetired) server.start();
    });
  }

  #powerLoss(region: RegionName): void {
    for (const server of this.#cluster.of(region)) this.crash(server, true);
  }

  /** It stops at its next use, and comes back when somebody has mended it. */
  #breakDisk(server: SimulatedServer, fault: "full" | "read-error"): void {
    this.#world.log(`${server.host.name}: ${fault}`);
    server.disk.fault = fault;
    this.#world.after(this.#prng.between(200, 3_000), () => {
      if (!this.#on) return;
      if (server.isBroken) this.broken++;
      else this.crash(server, false); // whoever mends the disk starts the server anew
      server.disk.fault = "none";
      this.#restart(server);
    });
  }

  #stop(server: SimulatedServer): void {
    const { process } = server.host;
    if (process === undefined) return;
    this.#world.turn(process, () => void server.stop());
    this.#world.after(this.#prng.between(2_500, 4_000), () => {
      if (!this.#on) return;
      if (server.host.process === process) server.crash(false);
      this.#restart(server);
    });
  }

  #transfer(server: SimulatedServer): void {
    const { raft } = this.#observers.stateOf(server);
    const { process } = server.host;
    if (raft === undefined || process === undefined || raft.role !== "leader") return;
    const to = this.#prng.pick(this.#cluster.of(server.region).filter((other) => other !== server)).member;
    this.#world.log(`${server.host.name} is to hand over to ${to}`);
    this.#world.turn(process, () => raft.step({ type: "transfer", to }));
  }

  /** Two are told to stand for election at once: the third decides between them. */
  #transferTwice(server: SimulatedServer): void {
    const { raft } = this.#observers.stateOf(server);
    const { process } = server.host;
    if (raft === undefined || process === undefined || raft.role !== "leader") return;
    this.#world.log(`${server.host.name} is to hand over to both others`);
    const others = this.#cluster.of(server.region).filter((other) => other !== server);
    const hosts = others.map(({ host }) => host);
    for (const { member } of others) this.#world.turn(process, () => raft.step({ type: "transfer", to: member }));
    this.#cutWhere((from, to) => hosts.includes(from) && hosts.includes(to)); // neither hears of the other
    this.#world.after(this.#prng.between(400, 1_200), () => this.#heal());
    for (const { disk } of [server, ...others]) disk.delayMsMax = 2;
    others[this.#prng.below(others.length)]!.disk.delayMsMax = 300; // its own vote is kept late, and then it asks
    this.#deciders.set(server.region, server);
  }

  /** One of two candidates has won: who decided between them falls, and is back before the other one asks. */
  #decided(region: RegionName): void {
    const decider = this.#deciders.get(region);
    this.#deciders.delete(region);
    if (decider === undefined) return;
    this.#world.after(this.#prng.between(0, 15), () => {
      if (!this.#on) return;
      this.crashes++;
      decider.crash(this.#prng.chance(0.3));
      decider.start();
    });
  }

  // The network

  #heal(): void {
    this.#network.heal();
    this.#world.log("the network is whole");
  }

  #partition(): void {
    const side = new Map([...this.#world.hosts.keys()].map((name) => [name, this.#prng.chance(0.5)]));
    this.#cutWhere((from, to) => side.get(from.name) !== side.get(to.name));
    const apart = [...side].filter(([, isApart]) => isApart).map(([name]) => name);
    this.#world.log(`the network is parted: ${apart.join(", ")} from the rest`);
  }

  #isolate(server: SimulatedServer, way: "in" | "out" | "both"): void {
    this.#world.log(`${server.host.name} is cut off: ${way}`);
    this.#cutWhere(
      (from, to) => (way !== "out" && to === server.host) || (way !== "in" && from === server.host),
      false,
    );
  }

  #cutRegions(way: "aws" | "gcp" | "both"): void {
    this.#world.log(`the regions are cut from each other: ${way}`);
    this.#cutWhere((from, to) => from.region !== to.region && (way === "both" || from.region === way));
  }

  #cutWhere(isCut: (from: Host, to: Host) => boolean, anew = true): void {
    if (anew) this.#network.heal();
    for (const from of this.#world.hosts.values()) {
      for (const to of this.#world.hosts.values()) if (isCut(from, to)) this.#network.cut(from.name, to.name);
    }
  }

  /**
   * Cut off from all but a reader, and its clock too slow to notice that nobody follows any more. What its peers had
   * answered before may be under way still, and comes when others lead already.
   */
  #leaveBehind({ host }: SimulatedServer): void {
    this.#world.log(`${host.name} is left behind, with a slow clock`);
    const peers = this.#cluster.servers.map((server) => server.host);
    const isLate = this.#prng.chance(0.6);
    const untilMs = this.#world.nowMs + this.#prng.between(1_500, 4_000);
    if (isLate) for (const peer of peers) this.#network.delayUntil(peer.name, host.name, untilMs);
    this.#world.after(isLate ? LATE_MS : 0, () => this.#cutOff(host, isLate ? peers : []));
  }

  #cutOff(host: Host, heard: readonly Host[]): void {
    if (!this.#on) return;
    host.rate = 0.1;
    const isOther = ({ name }: Host) => name !== READER && (this.#prng.chance(0.9) || !name.startsWith("client"));
    const others = [...this.#world.hosts.values()].filter((other) => other !== host && isOther(other));
    const isCut = (from: Host, to: Host) => to === host && others.includes(from) && !heard.includes(from);
    this.#cutWhere((from, to) => (from === host && others.includes(to)) || isCut(from, to));
    const isReset = this.#prng.chance(0.7);
    for (const other of others) if (isReset && !hasDisk(other)) this.#network.reset(host, other);
    this.#world.after(this.#prng.between(2_000, 12_000), () => {
      host.rate = 1;
      this.#heal();
    });
  }

  // Members

  /** A new server comes in, gets its vote, and one of the others goes: each step may fail, and is tried again. */
  #changeMembers(region: RegionName): void {
    const waiting = this.#spares.get(region);
    if (this.#changing.has(region) || (waiting === undefined && this.#cluster.of(region).length >= SERVERS_MAX)) return;
    this.#changing.add(region);
    const spare = waiting ?? this.#addSpare(region);
    this.#world.turn(this.#operator.host.process!, () => {
      this.#exchange(region, spare).then(() => this.#changing.delete(region));
    });
  }

  #addSpare(region: RegionName): SimulatedServer {
    const spare = this.#cluster.addSpare(region);
    this.#observers.watch(spare);
    this.#endanger(spare);
    this.#spares.set(region, spare);
    spare.start();
    return spare;
  }

  async #exchange(region: RegionName, spare: SimulatedServer): Promise<void> {
    if (!(await this.#change(region, "add", spare))) return; // its number is the next one still
    this.#spares.delete(region);
    if (!(await this.#change(region, "promote", spare))) return;
    const going = this.#prng.pick(this.#cluster.of(region).filter((server) => this.#observers.isMember(server)));
    if (!(await this.#change(region, "remove", going))) return;
    this.memberChanges++;
    await new Promise((resolve) => setTimeout(resolve, this.#prng.between(100, 4_000)));
    this.#retire(going);
  }

  async #change(region: RegionName, change: "add" | "promote" | "remove", server: SimulatedServer): Promise<boolean> {
    for (let attempt = 0; this.#on && attempt < CHANGE_ATTEMPTS; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, this.#prng.between(50, 1_000)));
      if (!this.#on) return false;
      const { member, address } = server;
      await this.#operator.changeMembers(region, change, member, address);
      const known = this.#observers.configurations.get(region)?.members.find(({ id }) => id === member);
      if (change === "add" ? known !== undefined : change === "promote" ? known?.learner === false : !known)
        return true;
    }
    return false;
  }

  #retire(server: SimulatedServer): void {
    server.isRetired = true;
    server.crash(true);
  }

  // Leaders and epochs

  /** The first moments of a term are the most dangerous ones. */
  #elected(server: SimulatedServer): void {
    this.#decided(server.region);
    if (!this.#on || !this.#prng.chance(this.#profile.newLeaderCrashProbability)) return;
    const aloneFirst = this.#prng.chance(0.6);
    if (aloneFirst) this.#isolate(server, "out"); // its first entries stay with it
    this.#world.after(this.#prng.between(0, 3 * this.#network.localMsMax), () => {
      if (!this.#on) return;
      this.crash(server, this.#prng.chance(0.3));
      if (aloneFirst) this.#heal();
    });
  }

  /** The primary is cut off or gone for a while (or an operator errs), and the other region takes over. */
  #promote(): void {
    const primary = this.#primary();
    const other = primary === "aws" ? "gcp" : "aws";
    const how = this.#prng.pick(["cut", "powerLoss", "by mistake"]);
    if (how === "powerLoss") this.#powerLoss(primary);
    if (how === "cut") {
      this.#cutRegions("both");
      this.#world.after(this.#prng.between(3_000, 12_000), () => this.#heal());
    }
    this.#world.after(this.#prng.between(50, 3_000), () => {
      if (this.#on) this.#operator.promote(other);
    });
  }

  /** Somebody promotes the mirror while it takes a snapshot. */
  #bootstraps(region: RegionName): void {
    if (!this.#on || this.#profile.faults.promotion === undefined || !this.#prng.chance(0.3)) return;
    this.#operator.promote(region);
  }

  #primary(): RegionName {
    const region = this.#observers.volumeChecker.tip?.epoch ?? 0;
    return REGIONS[region % 16]!;
  }

  #leader(region: RegionName): SimulatedServer | undefined {
    return this.#cluster
      .of(region)
      .find((server) => server.isUp && this.#observers.stateOf(server).raft?.role === "leader");
  }
}
