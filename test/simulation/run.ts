import { createHash } from "node:crypto";
import { epochRegion } from "../../core/ids.ts";
import type { RegionStatus } from "../../proto/generated/admin.ts";
import { SimulatedAgent } from "./agent.ts";
import { Buckets } from "./buckets.ts";
import { checkCompletion, checkFences, checkHistory } from "./checks/history-checker.ts";
import { LockChecker } from "./checks/lock-checker.ts";
import { checkSums } from "./checks/sums.ts";
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
import { type Problem, problemLine } from "./problem.ts";
import { drawProfile, type ProfileName } from "./profile.ts";

const STARTUP_MS_MAX = 30_000;
/** Liveness, in virtual time: every region works this long after the faults have ended, at the latest. */
const SETTLE_MS_MAX = 60_000;
const CALM_MS = 6_000;
/** And all have come to rest this long after the last operation was invoked. */
const REST_MS_MAX = 60_000;
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
  readonly profile: ProfileName | "unknown";
  readonly steps: number;
  /** A hash of the whole transcript: the same for the same seed. */
  readonly hash: string;
  /** What ended it early: a truth that does not hold, or an error or a time-out of the simulator itself. */
  readonly problem: Problem | undefined;
  /** Its last lines. */
  readonly transcript: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

/** Runs one seed, deterministically. A problem is a value, never thrown. */
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
  let problem: Problem | undefined;
  try {
    simulation.run();
  } catch (error) {
    problem = problemOf(error as Error);
    world.log(`VIOLATED: ${problemLine(problem)}`);
  } finally {
    simulation.close();
    leave();
  }
  return {
    seed: options.seed,
    profile: simulation.profile,
    steps: world.steps,
    hash: hash.digest("hex"),
    problem,
    transcript: transcript.slice(-TRANSCRIPT_LINES),
    counts: simulation.counts(),
  };
}

function problemOf(error: Error): Problem {
  if (error instanceof Violation) return { truth: error.truth, message: error.message };
  return { truth: undefined, message: error.stack ?? error.message };
}

/** What leads out of a state: a command, or a page with what to do where there is no command. */
const WAY_OUT = /mirrorfs (?!status)[a-z]+|docs\/operations\//;
/** A promotion broke off after it had ended the primary: the message says how it is repeated, and the operator does so. */
const REPEAT = /run 'mirrorfs promote --region (\w+) --force' again/;

/** Why a region does not work as primary or mirror, and its message does not name the way out; empty if it does. */
function unsettled(region: Region, status: RegionStatus | undefined): string {
  if (status === undefined) return `no leader of ${region} answers`;
  const { role, message } = status;
  if ((role === "primary" || role === "mirror") && message === "") return "";
  if (role === "fenced" && WAY_OUT.test(message) && !REPEAT.test(message)) return "";
  return `${region} is ${role}: ${message || "without a message"}`;
}

class Simulation {
  readonly #world: World;
  readonly #cluster: Cluster;
  readonly #history = new History();
  readonly #observers: Observers;
  readonly #buckets: Buckets;
  readonly #locks: LockChecker;
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
    this.#locks = new LockChecker(this.#observers.volumeChecker);
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
        locks: this.#locks,
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
    this.#settle();
    this.#faults.calm();
    this.#run(CALM_MS);
    for (const client of this.#clients) client.stop();
    this.#run(REST_MS_MAX, STEPS_MAX, () => this.#isAtRest());
    if (!this.#isAtRest()) throw new Violation("liveness", this.#whyNotAtRest());
    this.#settle();
    this.#checkSums();
    this.#observers.volumeChecker.checkTips();
    this.#checkLostIsKept();
    this.#counts = { ...checkHistory(this.#world, this.#observers.volumeChecker, this.#history) };
    const hits = [...this.#faults.hits.values()].reduce((sum, count) => sum + count, 0);
    if (hits === 0 && this.#stepsMax === STEPS_MAX)
      throw new Error("no fault has hit anything: this run shows nothing");
  }

  /** Waits until every region is primary or mirror, or says by which command it becomes one of them. */
  #settle(): void {
    const states = new Map<Region, string>();
    let isOver = false;
    let promotions = 0;
    const watch = async (region: Region) => {
      for (; !isOver; await new Promise((resolve) => setTimeout(resolve, 300))) {
        const status = await this.#operator.status(region);
        states.set(region, unsettled(region, status));
        const promoted = REPEAT.exec(status?.message ?? "")?.[1];
        if (promoted !== undefined && promotions++ === 0) this.#operator.promote(promoted as Region);
      }
    };
    this.#world.turn(this.#operator.host.process!, () => {
      for (const region of REGIONS) void watch(region);
    });
    const isSettled = () => REGIONS.every((region) => states.get(region) === "");
    this.#run(SETTLE_MS_MAX, STEPS_MAX, isSettled);
    isOver = true;
    if (!isSettled()) throw new Violation("liveness", REGIONS.map((region) => states.get(region) ?? region).join("; "));
  }

  /** Every member's totals are those of its records. */
  #checkSums(): void {
    const servers = this.#cluster.servers.filter((server) => server.isUp && this.#observers.isMember(server));
    let left = servers.length;
    for (const server of servers) {
      const { machine } = this.#observers.stateOf(server);
      this.#world.turn(server.host.process!, () => {
        checkSums(server.host.name, machine!).then(
          () => {
            left -= 1;
          },
          (error) => this.#world.reportViolation(error),
        );
      });
    }
    this.#run(REST_MS_MAX, STEPS_MAX, () => left === 0);
    if (left > 0) throw new Error("time-out: the states of the servers could not be read");
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
        "acknowledged is kept",
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
    this.#run(STARTUP_MS_MAX, STEPS_MAX, () => directories !== undefined && this.#isAtRest());
    if (directories === undefined) throw new Violation("liveness", "the volume did not become available");
    return directories;
  }

  #run(ms: number, stepsMax = STEPS_MAX, done?: () => boolean): void {
    this.#world.run(this.#world.nowMs + ms, stepsMax, () => this.#checkCompletions(), done);
    if (this.#world.steps >= STEPS_MAX) throw new Error(`time-out: the run takes more than ${STEPS_MAX} steps`);
  }

  /** Checks the operations that have completed since the last call, in the order of their invocation. */
  #checkCompletions(): void {
    const { operations } = this.#history;
    for (; this.#checked < operations.length && operations[this.#checked]!.completedMs < Number.POSITIVE_INFINITY; ) {
      checkCompletion(this.#observers.volumeChecker, operations[this.#checked]!);
      checkFences(this.#observers.fences, operations[this.#checked]!);
      this.#checked++;
    }
  }

  /** Whether every member of both regions is at the same version, except for a region that is fenced past a fork. */
  #isAtRest(): boolean {
    return this.#whyNotAtRest() === "";
  }

  #whyNotAtRest(): string {
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
      const hashes = new Set(machines.map((machine) => machine?.stateHash));
      if (hashes.size > 1) return `the members of ${region} have the hashes ${[...hashes].join(", ")}`;
      const isFenced = forks.length > 0 && ["fenced", "sealed"].includes(machines[0]?.role ?? "");
      if (versions[0] !== `${tip.epoch}:${tip.sequence}` && !isFenced) {
        return `${region} is at ${versions[0]}, the volume at ${tip.epoch}:${tip.sequence}`;
      }
      const pending = Math.max(...machines.map((machine) => machine?.facts.totals.slices ?? 0));
      if (pending > 0 && !isFenced) return `${pending} slices are pending in ${region}`;
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
      locks: this.#locks.granted,
      elections: raftCheckers.aws.elections + raftCheckers.gcp.elections,
      ...this.#faults.counts(),
      ...Object.fromEntries([...this.#faults.hits].map(([name, count]) => [`hit:${name}`, count])),
      leases: this.#cluster.profile.clockDriftPercent === undefined ? 0 : 1,
      switchovers: this.#operator.switchovers,
      promotions: volumeChecker.forks.length,
      collected: this.#buckets.collected,
    };
  }
}
