import { backoffMs, pause } from "../../../base/waiting.ts";
import { compareVersions, type Inode, NO_VERSION, type Sequence, type Version } from "../../../core/ids.ts";
import type { RegionStatus } from "../../../proto/generated/admin.ts";
import { FollowAnswer, type FollowReport, type FollowWelcome } from "../../../proto/generated/changelog.ts";
import type { ServerContext } from "../../region/context.ts";
import { bootstrap } from "./bootstrap.ts";
import { FollowSession } from "./follow-session.ts";
import { ReadQuestions } from "./read-questions.ts";
import type { Regions } from "./regions.ts";

const IDLE_MS = 100;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2_000;
const HEARD_EVERY_MS = 1_000;
const BEHIND_KEPT = 1_000;
const HASHES_KEPT = 1_000;

export interface FollowerOptions {
  readonly regions: Regions;
  /** Inodes without links that may be open in this region. */
  readonly openOrphans: () => readonly Inode[];
}

/** The mirror's role: this group's leader finds the primary, follows it, and finds it again. */
export class Follower {
  readonly #context: ServerContext;
  readonly #options: FollowerOptions;
  readonly #questions: ReadQuestions;
  #session: FollowSession | undefined;
  #heard: Version = NO_VERSION;
  #heardMs = Number.NEGATIVE_INFINITY;
  /** Versions heard of and not applied, with the time, oldest first: the lag. */
  #behind: { sequence: number; sinceMs: number }[] = [];
  /** The primary's hashes at sequences that are not applied here yet. */
  readonly #hashes = new Map<Sequence, string>();
  #message = "";
  /** The volume was made before this group lost, or never had, its state. */
  #isElsewhere = false;
  #suspended = false;
  #wake: () => void = () => {};
  #closed = false;
  readonly #timer: NodeJS.Timeout;

  constructor(context: ServerContext, options: FollowerOptions) {
    this.#context = context;
    this.#options = options;
    this.#questions = new ReadQuestions(
      (number) => this.#session?.ask(number) ?? false,
      () => performance.now() - this.#heardMs,
    );
    this.#timer = setInterval(() => void this.#commitHeard(), HEARD_EVERY_MS);
    this.#timer.unref();
    context.machine.onTurn(() => this.#onTurn());
    void this.#run();
  }

  /** What the primary has committed, as of after the call; undefined when it cannot be asked. */
  readonly askPrimary = (done: (committed: Version | undefined) => void): void => this.#questions.ask(done);

  get message(): string {
    return this.#message;
  }

  /** The highest version of the primary that this region has heard of. */
  get heard(): Version {
    const { heard } = this.#context.machine.facts;
    return compareVersions(this.#heard, heard as Version) >= 0 ? this.#heard : (heard as Version);
  }

  get reachable(): boolean {
    return performance.now() - this.#heardMs < HEARD_EVERY_MS;
  }

  /** Age of the oldest command heard of and not applied. */
  get lagMs(): number {
    const oldest = this.#behind[0];
    return oldest === undefined ? 0 : performance.now() - oldest.sinceMs;
  }

  /** Nothing more is followed until `resume`: a promotion looks at what is here. */
  suspend(): void {
    this.#suspended = true;
    this.#session?.close("suspended");
  }

  resume(): void {
    this.#suspended = false;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#closed; ) {
      if (!this.#wanted()) {
        await this.#pause(IDLE_MS);
        continue;
      }
      const startedMs = performance.now();
      const reason = await this.#once().catch((error: Error) => error.message);
      if (this.#closed || reason === undefined) continue;
      failures = performance.now() - startedMs > RETRY_MS_MAX ? 0 : failures + 1;
      if (this.#wanted()) this.#context.logger.info({ reason, failures }, "following the primary ended");
      await this.#pause(backoffMs(failures, RETRY_MS_MIN, RETRY_MS_MAX));
    }
  }

  async #pause(ms: number): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await pause(ms, woken);
  }

  /** There may be somebody to follow now: look at once. */
  wake(): void {
    this.#wake();
  }

  #wanted(): boolean {
    const { group, machine, volume, region } = this.#context;
    if (!group.leading || this.#suspended || machine.facts.diverged !== undefined) return false;
    return machine.role !== "unformatted" ? machine.role !== "primary" : volume.primary !== region || this.#isElsewhere;
  }

  foundElsewhere(): void {
    this.#isElsewhere = true;
  }

  /** @returns why it ended; undefined: look again at once */
  async #once(): Promise<string | undefined> {
    const target = await this.#findPrimary();
    if (typeof target === "string") return target;
    let answered: FollowWelcome | undefined;
    const session = new FollowSession(this.#context, target.address, {
      onWelcome: (welcome) => {
        answered = welcome;
        this.#welcomed(welcome, target.region);
      },
      onHeard: (committed) => this.#hear(committed),
      onReadIndex: (number, committed) => this.#questions.answered(number, committed),
      onStateHash: (sequence, hash) => this.#compare(sequence, hash),
      report: () => this.#report(),
    });
    this.#session = session;
    const reason = await session.ended;
    this.#session = undefined;
    this.#questions.lost();
    if (answered?.answer === FollowAnswer.BOOTSTRAP) return this.#bootstrap(target.address);
    if (answered?.answer === FollowAnswer.FORKED) return this.#forked(target.address, answered.message);
    if (answered?.answer === FollowAnswer.REFUSED) this.#message = `${target.region} refuses: ${answered.message}`;
    return reason;
  }

  /** The leader of the region whose epoch is the highest of all that are heard of. */
  async #findPrimary(): Promise<{ region: string; address: string } | string> {
    const { regions } = this.#options;
    const answers = [...(await regions.askAll())];
    const own = this.#context.machine.version.epoch;
    let best: RegionStatus | undefined;
    for (const [, status] of answers) {
      if (status.role === "unformatted") continue;
      if ((status.version?.epoch ?? 0) > (best?.version?.epoch ?? own - 1)) best = status;
    }
    if (best === undefined) return this.#unreachable("no other region answers, or none has the volume");
    const region = best.epochRegion;
    if (region === this.#context.region) return this.#unreachable("no region has begun a later epoch");
    const status = answers.find(([name]) => name === region)?.[1];
    const address = status && regions.leaderAddress(region, status);
    if (address === undefined) return this.#unreachable(`the primary ${region} has no leader within reach`);
    return { region, address };
  }

  #unreachable(message: string): string {
    this.#message = message;
    return message;
  }

  #welcomed(welcome: FollowWelcome, region: string): void {
    if (welcome.answer !== FollowAnswer.FOLLOWING) return;
    this.#message = "";
    this.#heardMs = performance.now();
    this.#hashes.clear();
    this.#context.logger.info({ region, from: this.#context.machine.version }, "following the primary");
    setImmediate(() => this.#questions.resume());
  }

  async #bootstrap(address: string): Promise<string | undefined> {
    const { logger, machine } = this.#context;
    logger.info({ from: machine.version }, "the primary's log no longer reaches back: taking a snapshot");
    await bootstrap(this.#context, address, (keys) => {
      this.#message = `bootstrapping: ${keys} keys`;
    });
    this.#message = "";
    logger.info({ version: machine.version }, "bootstrapped");
    return undefined;
  }

  /** A region that was primary has acknowledged what lies past the fork: it stays as it is, fenced. A mirror has not. */
  async #forked(address: string, message: string): Promise<string | undefined> {
    const { machine, region } = this.#context;
    if (machine.primary !== region) return this.#bootstrap(address);
    this.#message = `fenced: ${message}; changes acknowledged past that are kept here and must be rejoined`;
    return this.#message;
  }

  #hear(committed: Version): void {
    this.#heardMs = performance.now();
    if (compareVersions(committed, this.#heard) <= 0) return;
    this.#heard = committed;
    if (committed.sequence <= this.#context.machine.version.sequence) return;
    if (this.#behind.length >= BEHIND_KEPT) this.#behind.splice(1, BEHIND_KEPT / 2);
    this.#behind.push({ sequence: committed.sequence, sinceMs: performance.now() });
  }

  #report(): FollowReport {
    return { applied: this.#context.machine.version, openOrphans: [...this.#options.openOrphans()] };
  }

  #onTurn(): void {
    const { sequence } = this.#context.machine.version;
    while (this.#behind.length > 0 && this.#behind[0]!.sequence <= sequence) this.#behind.shift();
    for (const [at, hash] of this.#hashes) {
      if (at > sequence) break;
      this.#hashes.delete(at);
      this.#compare(at, hash);
    }
  }

  /** Same sequence, same hash: else something is wrong that nobody may build upon. */
  #compare(at: Sequence, theirs: string): void {
    const { machine, logger, proposer, group } = this.#context;
    if (at > machine.version.sequence) {
      if (this.#hashes.size < HASHES_KEPT) this.#hashes.set(at, theirs);
      return;
    }
    const own = machine.hashAt(at);
    if (own === undefined || own === theirs || !group.leading || machine.facts.diverged !== undefined) return;
    logger.fatal({ sequence: at, own, primary: theirs }, `the state differs from the primary's at sequence ${at}`);
    this.#session?.close("the state hash differs");
    void proposer.local({ kind: "diverged", sequence: at, own, primary: theirs });
  }

  /** So that a promotion knows what may be missing, whoever leads then. */
  async #commitHeard(): Promise<void> {
    const { machine, group, proposer } = this.#context;
    if (!group.leading || machine.role !== "mirror" || this.#heard.sequence <= machine.version.sequence) return;
    if (compareVersions(this.#heard, machine.facts.heard as Version) <= 0) return;
    await proposer.local({ kind: "heard", version: this.#heard });
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#session?.close("closed");
    this.#questions.close();
  }
}
