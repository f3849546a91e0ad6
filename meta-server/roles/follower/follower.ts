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
const UNAPPLIED_KEPT = 1_000;
const HASHES_KEPT = 1_000;

export interface FollowerOptions {
  readonly regions: Regions;
  /** Inodes without links that may be open in this region; undefined while that is being found out. */
  readonly openOrphans: () => readonly Inode[] | undefined;
}

/** The role of a mirror: its leader finds the primary, follows it, and looks for it again when the stream ends. */
export class Follower {
  readonly #context: ServerContext;
  readonly #options: FollowerOptions;
  readonly #questions: ReadQuestions;
  #session: FollowSession | undefined;
  /** What the primary says on the present stream that it has committed. */
  #sourceCommitted: Version | undefined;
  #heard: Version = NO_VERSION;
  #heardMs = Number.NEGATIVE_INFINITY;
  /** Versions that the primary has committed and this region has not applied, with the time of the news, oldest first. */
  #unapplied: { sequence: number; sinceMs: number }[] = [];
  /** The primary's state hashes at sequences that are not applied here yet. */
  readonly #hashes = new Map<Sequence, string>();
  #message = "";
  /** Why the last bootstrap failed; empty if it did not. */
  #failedBootstrap = "";
  /** Whether another region holds the volume although this one, its first region, is unformatted. */
  #isElsewhere = false;
  #isBootstrapping = false;
  #suspended = false;
  /** Attempts to follow that have failed in a row, without a welcome. */
  #failures = 0;
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

  /** Reports what the primary has committed, at a moment after the call; undefined if it cannot be asked. */
  readonly askPrimary = (done: (committed: Version | undefined) => void): void => this.#questions.ask(done);

  /** Why this region does not follow; empty if it does. */
  get message(): string {
    return this.#message;
  }

  /** The highest version that the primary is known to have committed. */
  get heard(): Version {
    const { heard } = this.#context.machine.facts;
    return compareVersions(this.#heard, heard as Version) >= 0 ? this.#heard : (heard as Version);
  }

  /** What the primary that this region follows now has committed; undefined while it follows none. */
  get sourceCommitted(): Version | undefined {
    return this.#sourceCommitted;
  }

  get reachable(): boolean {
    return performance.now() - this.#heardMs < HEARD_EVERY_MS;
  }

  /** How long the oldest version that is not applied here has been known, in ms. */
  get lagMs(): number {
    const oldest = this.#unapplied[0];
    return oldest === undefined ? 0 : performance.now() - oldest.sinceMs;
  }

  /** Whether this region's leader is replacing the state by a snapshot of the primary. */
  get isBootstrapping(): boolean {
    return this.#isBootstrapping;
  }

  /** Stops following until `resume`, so that a promotion decides on a state that does not move. */
  suspend(): void {
    this.#suspended = true;
    this.#session?.close("suspended");
  }

  resume(): void {
    this.#suspended = false;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      if (!this.#shouldFollow()) {
        await this.#pause(IDLE_MS);
        continue;
      }
      const startedMs = performance.now();
      const reason = await this.#followOnce().catch((error: Error) => error.message);
      if (this.#closed || reason === undefined) continue;
      this.#failures = performance.now() - startedMs > RETRY_MS_MAX ? 0 : this.#failures + 1;
      if (this.#shouldFollow()) {
        this.#context.logger.info({ reason, failures: this.#failures }, "following the primary ended");
      }
      await this.#pause(backoffMs(this.#failures, RETRY_MS_MIN, RETRY_MS_MAX));
    }
  }

  async #pause(ms: number): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await pause(ms, woken);
  }

  /** Looks for a primary now instead of after the back-off: there may be a new one. */
  wake(): void {
    this.#wake();
  }

  #shouldFollow(): boolean {
    const { group, machine, volume, region } = this.#context;
    if (!group.leading || this.#suspended || machine.facts.diverged !== undefined) return false;
    return machine.role !== "unformatted" ? machine.role !== "primary" : volume.primary !== region || this.#isElsewhere;
  }

  /** Another region holds the volume: this one follows, although it is unformatted and the volume's first region. */
  foundElsewhere(): void {
    this.#isElsewhere = true;
  }

  /** Follows once. @returns why it ended; undefined to look for the primary again at once */
  async #followOnce(): Promise<string | undefined> {
    const target = await this.#findPrimary();
    if (typeof target === "string") return target;
    let answered: FollowWelcome | undefined;
    const session = new FollowSession(this.#context, target.address, {
      onWelcome: (welcome) => {
        answered = welcome;
        this.#welcomed(welcome, target.region);
      },
      onHeard: (committed) => this.#noteCommitted(committed),
      onReadIndex: (number, committed) => this.#questions.answered(number, committed),
      onStateHash: (sequence, hash) => this.#compare(sequence, hash),
      report: () => this.#report(),
    });
    this.#session = session;
    const reason = await session.ended;
    this.#session = undefined;
    this.#sourceCommitted = undefined;
    this.#questions.lost();
    if (answered?.answer === FollowAnswer.BOOTSTRAP) return this.#bootstrap(target.address);
    if (answered?.answer === FollowAnswer.FORKED) return this.#forked(target.address, answered.message);
    if (answered?.answer === FollowAnswer.REFUSED)
      this.#message = `not following: ${target.region} refused: ${answered.message}`;
    return reason;
  }

  /** The leader of the primary: the region of the highest epoch that any region reports. A string: why there is none. */
  async #findPrimary(): Promise<{ region: string; address: string } | string> {
    const { regions } = this.#options;
    const answers = [...(await regions.askAll())];
    const own = this.#context.machine.version.epoch;
    let best: RegionStatus | undefined;
    for (const [, status] of answers) {
      if (status.role === "unformatted") continue;
      if ((status.version?.epoch ?? 0) > (best?.version?.epoch ?? own - 1)) best = status;
    }
    if (best === undefined) return this.#unreachable("no other region answers, or none holds the volume");
    const region = best.epochRegion;
    if (region === this.#context.region) return this.#unreachable("no other region has begun a later epoch");
    const status = answers.find(([name]) => name === region)?.[1];
    const address = status && regions.leaderAddress(region, status);
    if (address === undefined) return this.#unreachable(`no leader of the primary ${region} answers`);
    return { region, address };
  }

  #unreachable(reason: string): string {
    const silentMs = performance.now() - this.#heardMs;
    const since = Number.isFinite(silentMs) ? ` for ${Math.floor(silentMs / 1000)} s` : "";
    this.#message = `not following${since}: ${reason}`;
    return reason;
  }

  #welcomed(welcome: FollowWelcome, region: string): void {
    if (welcome.answer !== FollowAnswer.FOLLOWING) return;
    this.#message = "";
    this.#failures = 0;
    this.#heardMs = performance.now();
    this.#hashes.clear();
    this.#context.logger.info({ region, from: this.#context.machine.version }, "following the primary");
    setImmediate(() => this.#questions.resume());
  }

  async #bootstrap(address: string): Promise<string | undefined> {
    const { logger, machine } = this.#context;
    logger.info(
      { from: machine.version },
      "the primary's log no longer reaches back to this version: taking a snapshot",
    );
    const before = this.#failedBootstrap === "" ? "" : `; before that: ${this.#failedBootstrap}`;
    this.#isBootstrapping = true;
    try {
      await bootstrap(this.#context, address, (keys) => {
        this.#message = `loading a snapshot of the primary: ${keys} keys so far${before}`;
      });
    } catch (error) {
      this.#failedBootstrap = (error as Error).message;
      this.#message = `not following: ${this.#failedBootstrap}`;
      throw error;
    } finally {
      this.#isBootstrapping = false;
    }
    this.#failedBootstrap = "";
    this.#message = "";
    logger.info({ version: machine.version }, "loaded a snapshot of the primary");
    return undefined;
  }

  /** A former primary keeps the changes that it acknowledged after the fork, and stays fenced. A mirror acknowledged none. */
  async #forked(address: string, message: string): Promise<string | undefined> {
    const { machine, region } = this.#context;
    if (machine.primary !== region) return this.#bootstrap(address);
    this.#message = `fenced: ${message}; changes that this region acknowledged after that are kept here only: copy what you need of them, then empty its data directories (docs/operations/fail-over.md)`;
    return this.#message;
  }

  #noteCommitted(committed: Version): void {
    this.#heardMs = performance.now();
    this.#sourceCommitted = committed;
    if (compareVersions(committed, this.#heard) <= 0) return;
    this.#heard = committed;
    if (committed.sequence <= this.#context.machine.version.sequence) return;
    if (this.#unapplied.length >= UNAPPLIED_KEPT) this.#unapplied.splice(1, UNAPPLIED_KEPT / 2);
    this.#unapplied.push({ sequence: committed.sequence, sinceMs: performance.now() });
  }

  #report(): FollowReport | undefined {
    const openOrphans = this.#options.openOrphans();
    return openOrphans && { applied: this.#context.machine.version, openOrphans: [...openOrphans] };
  }

  #onTurn(): void {
    const { sequence } = this.#context.machine.version;
    while (this.#unapplied.length > 0 && this.#unapplied[0]!.sequence <= sequence) this.#unapplied.shift();
    for (const [at, hash] of this.#hashes) {
      if (at > sequence) break;
      this.#hashes.delete(at);
      this.#compare(at, hash);
    }
  }

  /**
   * At the same sequence the hashes must be equal. If they differ this region stops following, before more is built on a
   * wrong state.
   */
  #compare(at: Sequence, theirs: string): void {
    const { machine, logger, proposer, group } = this.#context;
    if (at > machine.version.sequence) {
      if (this.#hashes.size < HASHES_KEPT) this.#hashes.set(at, theirs);
      return;
    }
    const own = machine.hashAt(at);
    if (own === undefined || own === theirs || !group.leading || machine.facts.diverged !== undefined) return;
    logger.fatal(
      { sequence: at, own, primary: theirs },
      `stopped following: the state hash differs from the primary's at sequence ${at}`,
    );
    this.#session?.close("the state hash differs from the primary's");
    void proposer.local({ kind: "diverged", sequence: at, own, primary: theirs });
  }

  /** Commits how far the primary is known to be, so that a promotion can report what is missing, under any leader. */
  async #commitHeard(): Promise<void> {
    const { machine, group, proposer } = this.#context;
    if (!group.leading || machine.role !== "mirror" || compareVersions(this.#heard, machine.version) <= 0) return;
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
