import type { LogStore } from "../../../meta-server/storage/log-store.ts";
import { Network } from "./network.ts";
import { SimulatedServer } from "./server.ts";
import { hold, Truth } from "./truth.ts";
import { type Chance, World } from "./world.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** Virtual time with faults. */
  readonly faultsMs?: number;
  /** Within which everything must have converged once the faults are over. */
  readonly calmMs?: number;
  /** For a defect at the disk. */
  readonly wrapLog?: (log: LogStore) => LogStore;
}

export interface SimulationResult {
  readonly steps: number;
  readonly elections: number;
  readonly committed: number;
  readonly acknowledged: number;
  readonly reads: number;
  readonly restores: number;
  readonly crashes: number;
}

/** One seed, one run: the same every time. Throws at the first violated truth. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  try {
    return await simulation.run();
  } catch (error) {
    throw new Error(`seed ${options.seed} at ${simulation.describe()}: ${(error as Error).message}`, { cause: error });
  }
}

/** What kind of bad luck a seed has. */
interface Profile {
  readonly electionTicks: number;
  readonly faultMsMax: number;
  readonly delaysMs: readonly number[];
  readonly crashPointShare: number;
  readonly newLeaderCrashShare: number;
  readonly restartsMs: readonly number[];
  readonly slowShare: number;
  readonly disksMs: readonly number[];
  /** 1: an entry a message. */
  readonly appendBytesMax: number;
}

/** Leader after leader falls in its first moments, with entries that no other has: what figure 3.7 is made of. */
const STORM: Profile = {
  electionTicks: 3,
  faultMsMax: 3000,
  delaysMs: [1, 5, 20],
  crashPointShare: 0.01,
  newLeaderCrashShare: 0.8,
  restartsMs: [50, 400, 1500],
  slowShare: 0.02,
  disksMs: [1, 5, 100],
  appendBytesMax: 1,
};

function drawProfile(chance: Chance): Profile {
  if (chance.happens(0.4)) return STORM;
  return {
    electionTicks: chance.pick([3, 10]),
    faultMsMax: chance.pick([300, 1500, 4000]),
    delaysMs: chance.pick([
      [1, 5],
      [1, 5, 30, 200],
      [100, 400],
    ]),
    crashPointShare: chance.pick([0, 0.001, 0.01, 0.05]),
    newLeaderCrashShare: chance.pick([0, 0.2, 0.7]),
    restartsMs: chance.pick([
      [1, 50, 300],
      [1, 300, 3000, 8000],
    ]),
    slowShare: chance.pick([0.02, 0.2]),
    disksMs: chance.pick([
      [1, 5, 100],
      [1, 100, 400],
    ]),
    appendBytesMax: chance.pick([1, 200]),
  };
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #world: World;
  readonly #network: Network;
  readonly #truth = new Truth();
  readonly #servers: SimulatedServer[];
  readonly #profile: Profile;
  #faulty = true;
  #nextText = 1;
  #seenElections = 0;
  #reads = 0;
  #crashes = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#world = new World(options.seed);
    this.#network = new Network(this.#world);
    const size = this.#world.chance.pick([3, 3, 5]);
    const members = Array.from({ length: size }, (_, i) => ({ id: i + 1, address: "" }));
    const wrapLog = options.wrapLog ?? ((log: LogStore) => log);
    this.#profile = drawProfile(this.#world.chance);
    const { electionTicks, appendBytesMax, slowShare } = this.#profile;
    this.#network.slowShare = slowShare;
    const crashPoint = (server: SimulatedServer) => {
      if (!this.#faulty || !this.#world.chance.happens(this.#profile.crashPointShare)) return;
      const { chance } = this.#world;
      if (chance.happens(0.3)) this.#powerLoss();
      else this.#crash(server);
    };
    const { world, network, truth } = { world: this.#world, network: this.#network, truth: this.#truth };
    const shared = { members, world, network, truth, wrapLog, electionTicks, appendBytesMax, crashPoint };
    this.#servers = members.map(({ id }) => new SimulatedServer({ id, ...shared }));
  }

  describe(): string {
    return `step ${this.#world.steps}, ${Math.round(this.#world.nowMs)} ms`;
  }

  async run(): Promise<SimulationResult> {
    const { faultsMs = 25_000, calmMs = 15_000 } = this.#options;
    const check = () => this.#check();
    for (const server of this.#servers) server.start();
    this.#repeat(20, 150, () => this.#propose());
    this.#repeat(50, 300, () => this.#read());
    this.#repeat(this.#profile.faultMsMax / 10, this.#profile.faultMsMax, () => this.#fault());
    await this.#world.run(faultsMs, check);
    this.#calm();
    await this.#world.run(faultsMs + calmMs, check);
    this.#converged();
    const restores = this.#servers.reduce((sum, server) => sum + server.restores, 0);
    const { committed, acknowledged, elections } = this.#truth;
    const { steps } = this.#world;
    return { steps, elections, committed, acknowledged, reads: this.#reads, restores, crashes: this.#crashes };
  }

  #repeat(lowMs: number, highMs: number, run: () => void): void {
    this.#world.after(this.#world.chance.between(lowMs, highMs), () => {
      run();
      this.#repeat(lowMs, highMs, run);
    });
  }

  #check(): void {
    for (const { id, group, fatal } of this.#servers) {
      if (fatal !== undefined) throw fatal;
      if (group !== undefined) this.#truth.observe(id, group.status());
    }
    if (this.#truth.elections > this.#seenElections) this.#newLeader();
  }

  /** The first moments of a term are the most dangerous ones. */
  #newLeader(): void {
    this.#seenElections = this.#truth.elections;
    const { chance } = this.#world;
    if (!this.#faulty || !chance.happens(this.#profile.newLeaderCrashShare)) return;
    const leader = this.#servers.find(({ id }) => id === this.#truth.newestLeader);
    if (leader === undefined) return;
    const aloneFirst = chance.happens(0.6);
    if (aloneFirst) this.#isolate(leader, "out"); // its first entries stay with it
    this.#world.after(chance.between(0, 3 * this.#network.delayMsMax), () => {
      if (!this.#faulty) return;
      this.#crash(leader);
      if (aloneFirst) this.#network.heal();
    });
  }

  /** Asks the servers that believe they lead, the deposed among them. */
  #propose(): void {
    for (const server of this.#servers) {
      const { group } = server;
      if (group?.status().role !== "leader" && !this.#world.chance.happens(0.05)) continue;
      const burst = this.#world.chance.happens(0.1) ? 20 : 1;
      for (let i = 0; i < burst; i++) {
        const text = `p${this.#nextText++}`;
        group?.propose(Buffer.from(text), (result) => {
          if (result.ok && server.group === group) this.#truth.acknowledge(result.index, text);
        });
      }
    }
  }

  /** A confirmed read sees everything that was acknowledged before it was asked. */
  #read(): void {
    for (const server of this.#servers) {
      const { id, group } = server;
      if (group?.status().role !== "leader") continue;
      const needed = this.#truth.acknowledged;
      group.readIndex((confirmed) => {
        if (!confirmed || server.group !== group) return;
        this.#reads++;
        const { applied } = group.status();
        hold(applied >= needed, `a read at ${id} saw up to ${applied}, but ${needed} was acknowledged before it`);
      });
    }
  }

  #fault(): void {
    if (!this.#faulty) return;
    const { chance } = this.#world;
    const server = chance.pick(this.#servers);
    const faults: (() => void)[] = [
      () => this.#crash(server),
      () => this.#crash(server),
      () => this.#crash(this.#leader() ?? server),
      () => this.#powerLoss(),
      () => this.#partition(),
      () => this.#partition(),
      () => this.#network.heal(),
      () => this.#isolate(this.#leader() ?? server, chance.pick(["in", "out", "both"])),
      () => this.#leaveBehind(this.#leader() ?? server),
      () => {
        this.#network.lossShare = chance.pick([0, 0, 0.05, 0.3]);
        this.#network.duplicateShare = chance.pick([0, 0.1]);
        this.#network.delayMsMax = chance.pick(this.#profile.delaysMs);
      },
      () => {
        server.diskMsMax = chance.pick(this.#profile.disksMs);
      },
      () => {
        server.clockRate = chance.pick([0.2, 0.5, 1, 1, 1.5]);
      },
      () => {
        server.pausedUntilMs = this.#world.nowMs + chance.between(100, 4000);
      },
      () => void this.#leader()?.group?.transferLeadership(),
    ];
    chance.pick(faults)();
  }

  #crash(server: SimulatedServer): void {
    if (!server.isUp) return;
    this.#crashes++;
    server.crash();
    this.#world.after(this.#world.chance.pick(this.#profile.restartsMs), () => {
      if (!server.isUp) server.start();
    });
  }

  #powerLoss(): void {
    for (const server of this.#servers) this.#crash(server);
  }

  #partition(): void {
    const { chance } = this.#world;
    this.#network.heal();
    const side = new Map(this.#servers.map(({ id }) => [id, chance.happens(0.5)]));
    for (const { id: from } of this.#servers)
      for (const { id: to } of this.#servers) if (side.get(from) !== side.get(to)) this.#network.cut(from, to);
  }

  #isolate(server: SimulatedServer, way: "in" | "out" | "both"): void {
    for (const { id } of this.#servers) {
      if (way !== "out") this.#network.cut(id, server.id);
      if (way !== "in") this.#network.cut(server.id, id);
    }
  }

  /** Cut off, and its clock too slow to notice that nobody follows any more. */
  #leaveBehind(server: SimulatedServer): void {
    server.clockRate = 0.1;
    this.#isolate(server, "both");
    this.#world.after(this.#world.chance.between(1000, 5000), () => {
      server.clockRate = 1;
      this.#network.heal();
    });
  }

  #leader(): SimulatedServer | undefined {
    return this.#servers.find(({ group }) => group?.leading);
  }

  #calm(): void {
    this.#faulty = false;
    this.#network.heal();
    this.#network.lossShare = 0;
    this.#network.duplicateShare = 0;
    this.#network.slowShare = 0;
    this.#network.delayMsMax = 5;
    for (const server of this.#servers) {
      server.diskMsMax = 2;
      server.pausedUntilMs = 0;
      server.clockRate = 1;
      if (!server.isUp) server.start();
    }
    this.#calmFrom = this.#truth.acknowledged;
  }

  #calmFrom = 0;

  #converged(): void {
    hold(this.#truth.acknowledged > this.#calmFrom, "liveness: nothing was acknowledged after the faults were over");
    const applied = this.#servers.map(({ group }) => group?.status().applied ?? -1);
    const lag = Math.max(...applied) - Math.min(...applied);
    hold(lag < 50, `liveness: servers have applied ${applied.join(", ")} after the faults were over`);
  }
}
