import { createHash } from "node:crypto";
import { SimulatedAgent } from "./agent.ts";
import { Buckets } from "./buckets.ts";
import { show } from "./checks/volume-truth.ts";
import { SimulatedClient } from "./client.ts";
import { Faults, READER } from "./faults.ts";
import { History } from "./history.ts";
import { House, REGIONS, type Region } from "./house.ts";
import { Observers } from "./observe.ts";
import { Operator } from "./operator.ts";
import { drawProfile, type ProfileName } from "./profile.ts";
import { enter } from "./stage/globals.ts";
import { useNetwork } from "./stage/grpc.ts";
import { Network } from "./stage/network.ts";
import { hold, Violation, World } from "./stage/world.ts";
import { judgeAnswer, judgeHistory } from "./verdict.ts";

const BEGIN_MS = 30_000;
const CALM_MS = 6_000;
/** Within which all must have come to rest, in virtual time. */
const REST_MS = 60_000;
const DIRECTORIES = 3;
const TRANSCRIPT_LINES = 60;
const STEPS_MAX = 3_000_000;

export interface RunOptions {
  readonly seed: number;
  readonly profile?: ProfileName | undefined;
  /** Faults end after so many steps at the latest. */
  readonly steps?: number | undefined;
  /** Given every line of the transcript as it comes. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface RunResult {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly steps: number;
  /** Of every line of the transcript: the same for the same seed. */
  readonly hash: string;
  /** The first truth that did not hold. */
  readonly violated: string | undefined;
  /** The last lines. */
  readonly transcript: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

/** One seed, one run: the same every time. Never throws for what the run did. */
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
  let violated: string | undefined;
  try {
    simulation.run();
  } catch (error) {
    violated = error instanceof Violation ? error.message : `the simulator failed: ${(error as Error).stack}`;
    world.tell(`VIOLATED: ${violated}`);
  } finally {
    simulation.close();
    leave();
  }
  return {
    seed: options.seed,
    profile: simulation.profile,
    steps: world.steps,
    hash: hash.digest("hex"),
    violated,
    transcript: transcript.slice(-TRANSCRIPT_LINES),
    counts: simulation.counts(),
  };
}

class Simulation {
  readonly #world: World;
  readonly #house: House;
  readonly #history = new History();
  readonly #observers: Observers;
  readonly #buckets: Buckets;
  readonly #operator: Operator;
  readonly #faults: Faults;
  readonly #clients: SimulatedClient[];
  readonly #agents: readonly SimulatedAgent[];
  readonly #stepsMax: number;
  #judged = 0;
  #counts: Record<string, number> = {};

  constructor(world: World, { profile, steps }: RunOptions) {
    this.#world = world;
    this.#stepsMax = steps ?? STEPS_MAX;
    const network = new Network(world);
    useNetwork(network);
    this.#house = new House(world, drawProfile(world.chance, profile));
    this.#observers = new Observers(this.#house, () => this.#history.moment());
    this.#buckets = new Buckets(this.#house, this.#observers);
    this.#operator = new Operator(this.#house);
    this.#faults = new Faults({
      house: this.#house,
      network,
      observers: this.#observers,
      operator: this.#operator,
    });
    this.#clients = this.#makeClients();
    this.#agents = REGIONS.map((region) => new SimulatedAgent(this.#house, this.#buckets, region));
  }

  get profile(): ProfileName {
    return this.#house.profile.name;
  }

  #makeClients(): SimulatedClient[] {
    const { clients, thinkMsMax, readerThinkMsMax } = this.#house.profile;
    return Array.from({ length: clients + 1 }, (_, index) => {
      const onlyReads = index === clients;
      const region: Region = onlyReads ? "aws" : REGIONS[index % REGIONS.length]!;
      return new SimulatedClient({
        house: this.#house,
        history: this.#history,
        buckets: this.#buckets,
        name: onlyReads ? READER : `client-${index + 1}`,
        region,
        consistency: index % 4 === 3 && !onlyReads ? "session" : "close-to-open",
        onlyReads,
        thinkMsMax: onlyReads ? readerThinkMsMax : thinkMsMax,
        threads: 1 + (index % 2),
      });
    });
  }

  run(): void {
    for (const server of this.#house.servers) server.start();
    for (const agent of this.#agents) agent.start();
    for (const client of this.#clients) client.start();
    const directories = this.#prepare();
    this.#faults.begin();
    for (const client of this.#clients) client.work(directories);
    this.#run(this.#house.profile.faultsMs, this.#stepsMax);
    this.#faults.end();
    this.#run(CALM_MS);
    for (const client of this.#clients) client.stop();
    this.#run(REST_MS, STEPS_MAX, () => this.#isAtRest());
    if (!this.#isAtRest()) throw new Violation(`liveness: ${this.#unrest()}`);
    this.#observers.truth.checkTips();
    this.#lostIsKept();
    const { operations, lost, undecided } = judgeHistory(this.#world, this.#observers.truth, this.#history);
    this.#counts = { operations, lost, undecided };
  }

  /** What a region has acknowledged past a fork stays there, until somebody takes it out. */
  #lostIsKept(): void {
    const { truth } = this.#observers;
    for (const { version, session } of truth.entries.values()) {
      if (session === 0 || truth.isLiving(version)) continue;
      const region = REGIONS[version.epoch % 16]!;
      const [keeper] = this.#house.of(region).filter((server) => this.#observers.isMember(server));
      const at = this.#observers.seen(keeper!).machine!.version;
      hold(
        !truth.isLiving(at),
        () => `${show(version)} is past a fork, and ${region}, which acknowledged it, is at ${show(at)}`,
      );
    }
  }

  #prepare(): readonly number[] {
    let directories: readonly number[] | undefined;
    const [first] = this.#clients;
    this.#world.turn(first!.host.life!, () => {
      first!.prepare(DIRECTORIES).then((made) => {
        directories = made;
      });
    });
    this.#run(BEGIN_MS, STEPS_MAX, () => directories !== undefined && this.#isAtRest());
    if (directories === undefined) throw new Violation("liveness: the volume did not come up");
    return directories;
  }

  #run(ms: number, stepsMax = STEPS_MAX, done?: () => boolean): void {
    this.#world.run(this.#world.nowMs + ms, stepsMax, () => this.#judge(), done);
  }

  /** Answers that have come since the last look. */
  #judge(): void {
    const { recorded } = this.#history;
    for (; this.#judged < recorded.length && recorded[this.#judged]!.answeredMs < Number.POSITIVE_INFINITY; ) {
      judgeAnswer(this.#observers.truth, recorded[this.#judged]!);
      this.#judged++;
    }
  }

  /** Every member of both regions stands at the same version, but for a region that is fenced past a fork. */
  #isAtRest(): boolean {
    return this.#unrest() === "";
  }

  #unrest(): string {
    const { tip, forks } = this.#observers.truth;
    if (tip === undefined) return "there is no volume";
    const waiting = this.#history.recorded.find(({ answeredMs }) => answeredMs === Number.POSITIVE_INFINITY);
    if (waiting !== undefined) return `${waiting.client} waits for an answer since ${waiting.calledMs.toFixed(0)} ms`;
    for (const region of REGIONS) {
      const members = this.#house.of(region).filter((server) => this.#observers.isMember(server));
      const machines = members.map((server) => this.#observers.seen(server).machine);
      const versions = machines.map((machine) => `${machine?.version.epoch}:${machine?.version.sequence}`);
      if (new Set(versions).size > 1) {
        return `the members of ${region} stand at ${versions.join(", ")}: ${this.#rafts(region)}`;
      }
      const isFenced = forks.length > 0 && ["fenced", "sealed"].includes(machines[0]?.role ?? "");
      if (versions[0] !== `${tip.epoch}:${tip.sequence}` && !isFenced) {
        return `${region} stands at ${versions[0]}, the volume at ${tip.epoch}:${tip.sequence}`;
      }
    }
    return "";
  }

  #rafts(region: Region): string {
    return this.#house
      .of(region)
      .map((server) => {
        const { raft } = this.#observers.seen(server);
        if (raft === undefined || !server.isUp) return `${server.host.name} is down`;
        const { base, lastIndex, stable, commit, applied } = raft.log;
        const log = `base ${base.index} last ${lastIndex} stable ${stable} commit ${commit} applied ${applied}`;
        const followers = this.#house.of(region).map(({ member }) => JSON.stringify(raft.progress(member)));
        return `${server.host.name} ${raft.role} of term ${raft.term}, ${log}, ${followers.join(" ")}`;
      })
      .join("; ");
  }

  close(): void {
    this.#observers.close();
  }

  counts(): Readonly<Record<string, number>> {
    const { groups, truth } = this.#observers;
    return {
      ...this.#counts,
      answered: this.#history.answered,
      unanswered: this.#history.recorded.length - this.#history.answered,
      commands: truth.entries.size,
      elections: groups.aws.elections + groups.gcp.elections,
      crashes: this.#faults.crashes,
      brokenDisks: this.#faults.broken,
      switchovers: this.#operator.switchovers,
      memberChanges: this.#faults.memberChanges,
      promotions: truth.forks.length,
      collected: this.#buckets.collected,
    };
  }
}
