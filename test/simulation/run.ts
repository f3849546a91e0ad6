import { createHash } from "node:crypto";
import { epochRegion } from "../../core/ids.ts";
import { SimulatedAgent } from "./agent.ts";
import { Buckets } from "./buckets.ts";
import { checkCompletion, checkHistory } from "./checks/history-checker.ts";
import { show } from "./checks/volume-checker.ts";
import { SimulatedClient } from "./client.ts";
import { Cluster, REGIONS, type Region } from "./cluster.ts";
import { enter } from "./environment/globals.ts";
import { useNetwork } from "./environment/grpc.ts";
import { Network } from "./environment/network.ts";
import { invariant, Violation, World } from "./environment/world.ts";
import { FaultInjector } from "./faults/injector.ts";
import { READER } from "./faults/network-faults.ts";
import { History } from "./history.ts";
import { Observers } from "./observe.ts";
import { Operator } from "./operator.ts";
import { drawProfile, type ProfileName } from "./profile.ts";

const STARTUP_MS_MAX = 30_000;
const CALM_MS = 6_000;
/** Liveness: the cluster must be quiescent this long after the last operation was invoked, in virtual time. */
const QUIESCE_MS_MAX = 60_000;
const DIRECTORIES = 3;
const TRANSCRIPT_LINES = 60;
const STEPS_MAX = 3_000_000;

export interface RunOptions {
  readonly seed: number;
  readonly profile?: ProfileName | undefined;
  /** Faults end after this many steps at the latest. */
  readonly steps?: number | undefined;
  /** Called with every line of the transcript. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface RunResult {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly steps: number;
  /** A hash of the whole transcript: the same for the same seed. */
  readonly hash: string;
  /** The first invariant that was violated. */
  readonly violation: string | undefined;
  /** Its last lines. */
  readonly transcript: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

/** Runs one seed, deterministically. A violation is a value, never thrown. */
export function run(options: RunOptions): RunResult {
  const transcript: string[] = [];
  const hash = createHash("sha256");
  const world = new World(options.seed, (line) => {
    hash.update(line);
    transcript.push(line);
    if (transcript.length > 4 * TRANSCRIPT_LINES) transcript.splice(0, 3 * TRANSCRIPT_LINES);
    options.onLine?.(line);
  });
  const leave = enter(world);
  const simulation = new Simulation(world, options);
  let violation: string | undefined;
  try {
    simulation.run();
  } catch (error) {
    violation = error instanceof Violation ? error.message : `the simulator failed: ${(error as Error).stack}`;
    world.log(`VIOLATED: ${violation}`);
  } finally {
    simulation.close();
    leave();
  }
  return {
    seed: options.seed,
    profile: simulation.profile,
    steps: world.steps,
    hash: hash.digest("hex"),
    violation,
    transcript: transcript.slice(-TRANSCRIPT_LINES),
    counts: simulation.counts(),
  };
}

class Simulation {
  readonly #world: World;
  readonly #cluster: Cluster;
  readonly #history = new History();
  readonly #observers: Observers;
  readonly #buckets: Buckets;
  readonly #operator: Operator;
  readonly #faults: FaultInjector;
  readonly #clients: SimulatedClient[];
  readonly #agents: readonly SimulatedAgent[];
  readonly #stepsMax: number;
  #checked = 0;
  #counts: Record<string, number> = {};

  constructor(world: World, { profile, steps }: RunOptions) {
    this.#world = world;
    this.#stepsMax = steps ?? STEPS_MAX;
    const network = new Network(world);
    useNetwork(network);
    this.#cluster = new Cluster(world, drawProfile(world.prng, profile));
    this.#observers = new Observers(this.#cluster, () => this.#history.tick());
    this.#buckets = new Buckets(this.#cluster, this.#observers);
    this.#operator = new Operator(this.#cluster);
    this.#faults = new FaultInjector({
      cluster: this.#cluster,
      network,
      observers: this.#observers,
      operator: this.#operator,
    });
    this.#clients = this.#createClients();
    this.#agents = REGIONS.map((region) => new SimulatedAgent(this.#cluster, this.#buckets, region));
  }

  get profile(): ProfileName {
    return this.#cluster.profile.name;
  }

  #createClients(): SimulatedClient[] {
    const { clients, thinkMsMax, readerThinkMsMax } = this.#cluster.profile;
    return Array.from({ length: clients + 1 }, (_, index) => {
      const readOnly = index === clients;
      const region: Region = readOnly ? "aws" : REGIONS[index % REGIONS.length]!;
      return new SimulatedClient({
        cluster: this.#cluster,
        history: this.#history,
        buckets: this.#buckets,
        name: readOnly ? READER : `client-${index + 1}`,
        region,
        consistency: index % 4 === 3 && !readOnly ? "session" : "close-to-open",
        readOnly,
        thinkMsMax: readOnly ? readerThinkMsMax : thinkMsMax,
        threads: 1 + (index % 2),
      });
    });
  }

  run(): void {
    for (const server of this.#cluster.servers) server.start();
    for (const agent of this.#agents) agent.start();
    for (const client of this.#clients) client.start();
    const directories = this.#prepare();
    this.#faults.begin();
    for (const client of this.#clients) client.work(directories);
    this.#run(this.#cluster.profile.faultsMs, this.#stepsMax);
    this.#faults.end();
    this.#run(CALM_MS);
    for (const client of this.#clients) client.stop();
    this.#run(QUIESCE_MS_MAX, STEPS_MAX, () => this.#isQuiescent());
    if (!this.#isQuiescent()) throw new Violation(`liveness: ${this.#whyNotQuiescent()}`);
    this.#observers.volumeChecker.checkTips();
    this.#checkLostIsKept();
    const { operations, lost, undecided } = checkHistory(this.#world, this.#observers.volumeChecker, this.#history);
    this.#counts = { operations, lost, undecided };
  }

  /** What a region acknowledged past a fork stays in that region, for an operator to recover. */
  #checkLostIsKept(): void {
    const { volumeChecker } = this.#observers;
    for (const { version, session } of volumeChecker.entries.values()) {
      if (session === 0 || volumeChecker.isSurviving(version)) continue;
      const region = REGIONS[epochRegion(version.epoch)]!;
      const [keeper] = this.#cluster.of(region).filter((server) => this.#observers.isMember(server));
      const at = this.#observers.stateOf(keeper!).machine!.version;
      invariant(
        !volumeChecker.isSurviving(at),
        () => `${show(version)} is past a fork, and ${region}, which acknowledged it, is at ${show(at)}`,
      );
    }
  }

  #prepare(): readonly number[] {
    let directories: readonly number[] | undefined;
    const [first] = this.#clients;
    this.#world.turn(first!.host.process!, () => {
      first!.prepare(DIRECTORIES).then((made) => {
        directories = made;
      });
    });
    this.#run(STARTUP_MS_MAX, STEPS_MAX, () => directories !== undefined && this.#isQuiescent());
    if (directories === undefined) throw new Violation("liveness: the volume did not become available");
    return directories;
  }

  #run(ms: number, stepsMax = STEPS_MAX, done?: () => boolean): void {
    this.#world.run(this.#world.nowMs + ms, stepsMax, () => this.#checkCompletions(), done);
  }

  /** Checks the operations that have completed since the last call, in the order of their invocation. */
  #checkCompletions(): void {
    const { operations } = this.#history;
    for (; this.#checked < operations.length && operations[this.#checked]!.completedMs < Number.POSITIVE_INFINITY; ) {
      checkCompletion(this.#observers.volumeChecker, operations[this.#checked]!);
      this.#checked++;
    }
  }

  /** Whether every member of both regions is at the same version, except for a region that is fenced past a fork. */
  #isQuiescent(): boolean {
    return this.#whyNotQuiescent() === "";
  }

  #whyNotQuiescent(): string {
    const { tip, forks } = this.#observers.volumeChecker;
    if (tip === undefined) return "there is no volume";
    const waiting = this.#history.operations.find(({ completedMs }) => completedMs === Number.POSITIVE_INFINITY);
    if (waiting !== undefined)
      return `${waiting.client} has waited for an answer since ${waiting.invokedMs.toFixed(0)} ms`;
    for (const region of REGIONS) {
      const members = this.#cluster.of(region).filter((server) => this.#observers.isMember(server));
      const machines = members.map((server) => this.#observers.stateOf(server).machine);
      const versions = machines.map((machine) => `${machine?.version.epoch}:${machine?.version.sequence}`);
      if (new Set(versions).size > 1) {
        return `the members of ${region} are at ${versions.join(", ")}: ${this.#rafts(region)}`;
      }
      const isFenced = forks.length > 0 && ["fenced", "sealed"].includes(machines[0]?.role ?? "");
      if (versions[0] !== `${tip.epoch}:${tip.sequence}` && !isFenced) {
        return `${region} is at ${versions[0]}, the volume at ${tip.epoch}:${tip.sequence}`;
      }
    }
    return "";
  }

  #rafts(region: Region): string {
    return this.#cluster
      .of(region)
      .map((server) => {
        const { raft } = this.#observers.stateOf(server);
        if (raft === undefined || !server.isUp) return `${server.host.name} is down`;
        const { base, lastIndex, stable, commit, applied } = raft.log;
        const log = `base ${base.index} last ${lastIndex} stable ${stable} commit ${commit} applied ${applied}`;
        const followers = this.#cluster.of(region).map(({ member }) => JSON.stringify(raft.progress(member)));
        return `${server.host.name} ${raft.role} of term ${raft.term}, ${log}, ${followers.join(" ")}`;
      })
      .join("; ");
  }

  close(): void {
    this.#observers.close();
  }

  counts(): Readonly<Record<string, number>> {
    const { raftCheckers, volumeChecker } = this.#observers;
    return {
      ...this.#counts,
      completed: this.#history.completed,
      indeterminate: this.#history.operations.length - this.#history.completed,
      commands: volumeChecker.entries.size,
      elections: raftCheckers.aws.elections + raftCheckers.gcp.elections,
      ...this.#faults.counts(),
      switchovers: this.#operator.switchovers,
      promotions: volumeChecker.forks.length,
      collected: this.#buckets.collected,
    };
  }
}
