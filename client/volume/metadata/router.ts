import type { Logger } from "pino";
import { backoffMs, orInterrupted, pause, singleFlight } from "../../../base/waiting.ts";
import { MemberAddresses } from "../../../config/member-addresses.ts";
import type { VolumeDescription } from "../../../config/volume-description.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import { type EpochCode, NO_VERSION, type Sequence, type Version } from "../../../core/ids.ts";
import { Freshness, type Hello, type Invalidation, type Response, Status } from "../../../proto/generated/metadata.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { RequestBody } from "./connection.ts";
import { type Consistency, type ReadOptions, ReadPolicy } from "./read-policy.ts";
import { type Asked, RegionGroup } from "./region-group.ts";

export interface RouterOptions {
  readonly volume: VolumeDescription;
  readonly region: string;
  readonly consistency: Consistency;
  readonly maxStalenessMs: number;
  readonly onPrimaryLoss: "serve" | "fail";
  readonly readTimeoutMs: number;
  /** `uuid`: of the volume; empty before the first welcome. */
  readonly hello: (seen: Version, uuid: string) => Hello;
  readonly logger: Logger;
}

export interface RouterEvents {
  /** `version`: answers that are older do not have these changes. NO_VERSION: another region's, which may be ahead. */
  onInvalidations(invalidations: readonly Invalidation[], version: Version): void;
  /** Pushes may have been missed (`stream`), or history has changed (`epoch`): every cached answer is to be dropped. */
  onCachesLost(reason: "stream" | "epoch"): void;
}

/** A mirror answers, or answers BEHIND, within seven seconds: it waits for the primary, and then for what it must apply. */
const READ_ANSWER_MS = 8500;
/** How long to wait for a region without a leader before another region is asked; later reads do not wait again. */
const MIRROR_FIND_MS = 1500;
/** The same for the primary's region: an election is waited for before the older state of a mirror is served. */
const PRIMARY_FIND_MS = 10_000;
const STATUS_MS = 1500;
/** How long a request waits for the search for the primary before it is retried with what is known. */
const FIND_PRIMARY_MS = 300;
const UPKEEP_MS = 3000;
const KEEP_ALIVE = { freshness: Freshness.TOKEN, atLeast: undefined, findMs: 2000, answerMs: 2500 };

/**
 * Routes reads to the mount's own region and changes to the primary's region. Follows the primary from region to region
 * by the highest epoch that any of them reports.
 */
export class Router {
  readonly #options: RouterOptions;
  readonly #events: RouterEvents;
  readonly #groups = new Map<string, RegionGroup>();
  readonly #own: RegionGroup;
  #primary: string;
  #primaryEpoch = 0;
  /** The volume's, from the first welcome. */
  #uuid = "";
  /** Ends the wait of each request to the primary when another region becomes primary. */
  readonly #waiting = new Set<(answer: "unreachable") => void>();
  readonly #policy: ReadPolicy;
  #suspended = false;
  #upkeep: NodeJS.Timeout | undefined;
  #closed = false;
  readonly findPrimary = singleFlight(() => this.#findPrimary());

  constructor(options: RouterOptions, events: RouterEvents) {
    this.#options = options;
    this.#events = events;
    this.#policy = new ReadPolicy(options);
    this.#primary = options.volume.primary;
    for (const description of options.volume.regions.values()) {
      const group = new RegionGroup({
        region: description.name,
        volume: options.volume.volume,
        addresses: new MemberAddresses(description),
        hello: () => options.hello(this.#policy.seen, this.#uuid),
        logger: options.logger,
        events: {
          onInvalidations: (region, invalidations, version) =>
            events.onInvalidations(invalidations, region === options.region ? asVersion(version) : NO_VERSION),
          onVersion: (version) => this.#noteEpoch(asVersion(version)),
          accepts: (region, uuid) => this.#accepts(region, uuid),
          onStreamLost: (region) => {
            if (region === options.region) events.onCachesLost("stream");
          },
        },
      });
      this.#groups.set(description.name, group);
    }
    this.#own = this.group(options.region);
  }

  /** The region that is primary, as far as this client knows. */
  get primary(): string {
    return this.#primary;
  }

  get ownIsPrimary(): boolean {
    return this.#primary === this.#options.region;
  }

  /** How long the primary has had no leader that could be found. */
  get primaryDownForMs(): number {
    return this.group(this.#primary).downForMs;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** True while the own region's pushes arrive: the kernel may cache only then. */
  get watched(): boolean {
    return this.#own.connected;
  }

  get seen(): Version {
    return this.#policy.seen;
  }

  group(region: string): RegionGroup {
    const group = this.#groups.get(region);
    if (group === undefined) throw new RangeError(`no region "${region}" in volume "${this.#options.volume.volume}"`);
    return group;
  }

  /** Keeps the streams to the own region (for its pushes) and to the primary (for the session) alive. */
  start(): void {
    this.#upkeep = setInterval(() => {
      void this.#keepAlive(this.#own);
      if (!this.ownIsPrimary) void this.#keepAlive(this.group(this.#primary));
    }, UPKEEP_MS);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#upkeep);
    for (const group of this.#groups.values()) group.close();
  }

  reconnectAll(): void {
    for (const group of this.#groups.values()) group.reconnect();
  }

  /** Notes the version that an answer was given at: it advances the token, and may show a new epoch. */
  note(version: Version): void {
    this.#noteEpoch(version);
    this.#policy.noteSeen(version);
  }

  /**
   * Sends a read. Resolves to a response with status OK or FAILED, or to an errno: EINTR, or EIO after `readTimeoutMs`.
   */
  async read(body: RequestBody, options: ReadOptions): Promise<Response | ErrnoCode> {
    const deadlineMs = performance.now() + this.#options.readTimeoutMs;
    for (let attempt = 0; performance.now() < deadlineMs && !this.#closed; attempt++) {
      if (attempt > 0 && options.interrupt?.signal.aborted) return "EINTR";
      const answer = await orInterrupted(this.#readOnce(body, options), options.interrupt);
      if (answer !== undefined) return answer;
      if (!(await pause(backoffMs(attempt, 30, 1000), options.interrupt))) return "EINTR";
    }
    return "EIO";
  }

  /** Sends a request to the current primary's leader. One attempt; after a failure the primary is looked for again. */
  async askPrimary(body: RequestBody, limits: { findMs: number; answerMs: number }): Promise<Asked> {
    if (this.#closed) return "unreachable";
    const options = { freshness: Freshness.COMMITTED, atLeast: undefined, ...limits };
    const moved = Promise.withResolvers<"unreachable">();
    this.#waiting.add(moved.resolve);
    const answer = await Promise.race([this.group(this.#primary).ask(body, options), moved.promise]);
    this.#waiting.delete(moved.resolve);
    if (typeof answer === "string") {
      await Promise.race([this.findPrimary(), pause(FIND_PRIMARY_MS)]);
      return answer;
    }
    if (answer.status === Status.NOT_PRIMARY) {
      if (answer.primary !== "" && answer.primary !== this.#primary && this.#groups.has(answer.primary)) {
        this.#moveTo(answer.primary);
      } else await Promise.race([this.findPrimary(), pause(FIND_PRIMARY_MS)]);
    }
    if (answer.version !== undefined && answer.status <= Status.FAILED) this.note(asVersion(answer.version));
    return answer;
  }

  async #readOnce(body: RequestBody, options: ReadOptions): Promise<Response | ErrnoCode | undefined> {
    const askedMs = performance.now();
    const required = this.#policy.required(options, askedMs);
    const own = await this.#own.ask(body, { ...required, ...timeLimits(this.#own, this.ownIsPrimary) });
    // The mirror's servers cannot reach the primary, but this mount may: its network path is another one.
    const isUnsure = typeof own !== "string" && own.primaryUnreachable && required.freshness === Freshness.COMMITTED;
    if (!isUnsure || this.ownIsPrimary) {
      const fromOwn = this.#accept(own, required.freshness, askedMs);
      if (fromOwn !== undefined) return fromOwn;
    }
    if (!this.ownIsPrimary) {
      const asked = await this.askPrimary(body, timeLimits(this.group(this.#primary), false));
      const fromPrimary = this.#accept(asked, required.freshness, askedMs);
      if (fromPrimary !== undefined) return fromPrimary;
      const unsure = isUnsure ? this.#accept(own, required.freshness, askedMs) : undefined;
      if (unsure !== undefined) return unsure;
    } else void this.findPrimary();
    return this.#readElsewhere(body, required.atLeast);
  }

  /**
   * Neither the own region nor the primary answers: reads the state of any other region, if `onPrimaryLoss` allows
   * that.
   */
  async #readElsewhere(body: RequestBody, atLeast: Version | undefined): Promise<Response | ErrnoCode | undefined> {
    if (this.#options.onPrimaryLoss === "fail") return undefined;
    for (const [region, group] of this.#groups) {
      if (region === this.#options.region || region === this.#primary) continue;
      const answer = await group.ask(body, { freshness: Freshness.TOKEN, atLeast, ...timeLimits(group, false) });
      const accepted = this.#accept(answer, Freshness.TOKEN, 0);
      if (accepted === undefined) continue;
      this.#suspend(true);
      return accepted;
    }
    return undefined;
  }

  #accept(answer: Asked, freshness: Freshness, askedMs: number): Response | ErrnoCode | undefined {
    if (typeof answer === "string" || answer.status > Status.FAILED) return undefined;
    // A server without the current epoch may hold changes past a fork: never served, whether or not the primary
    // answers.
    if (answer.version !== undefined && answer.version.epoch < this.#primaryEpoch) return undefined;
    if (freshness === Freshness.COMMITTED) {
      this.#suspend(answer.primaryUnreachable);
      if (answer.primaryUnreachable && this.#options.onPrimaryLoss === "fail") return "EIO";
    }
    if (answer.version !== undefined) {
      const version = asVersion(answer.version);
      this.note(version);
      if (freshness === Freshness.COMMITTED && !answer.primaryUnreachable) this.#policy.noteCommitted(askedMs);
    }
    return answer;
  }

  #suspend(suspended: boolean): void {
    if (suspended === this.#suspended) return;
    this.#suspended = suspended;
    const { logger, onPrimaryLoss } = this.#options;
    if (!suspended) logger.info("the primary answers again: close-to-open is restored");
    else if (onPrimaryLoss === "serve")
      logger.warn("the primary is out of reach: reads are served from the mirror's state, which may be older");
    else logger.warn("the primary is out of reach: reads fail (onPrimaryLoss=fail)");
  }

  /** A volume of the same name may be another one: made anew, or named by a wrong address in the volume file. */
  #accepts(region: string, uuid: string): boolean {
    if (this.#isOther(uuid)) {
      const fields = { region, uuid, expected: this.#uuid };
      this.#options.logger.error(fields, "not used: this region holds another volume of the same name");
      return false;
    }
    this.#uuid ||= uuid;
    return true;
  }

  #isOther(uuid: string): boolean {
    return uuid !== "" && this.#uuid !== "" && uuid !== this.#uuid;
  }

  #noteEpoch(version: Version): void {
    if (version.epoch <= this.#primaryEpoch) return;
    const first = this.#primaryEpoch === 0;
    this.#primaryEpoch = version.epoch;
    if (first) return;
    // The new epoch may have forked off before the versions that were seen of the last one: cached answers are invalid.
    this.#options.logger.info({ epoch: version.epoch }, "a new epoch has begun");
    this.#events.onCachesLost("epoch");
    void this.findPrimary();
  }

  /** Asks every region for its epoch; applies each answer as soon as it arrives. */
  async #findPrimary(): Promise<void> {
    let best = this.#primaryEpoch;
    await Promise.all(
      [...this.#groups.values()].map(async (group) => {
        const status = await group.status(STATUS_MS);
        const epoch = status?.version?.epoch ?? 0;
        if (status === undefined || this.#isOther(status.uuid)) return;
        if (epoch < best || epoch === 0 || !this.#groups.has(status.epochRegion)) return;
        best = epoch;
        this.#moveTo(status.epochRegion);
        this.#noteEpoch({ epoch: epoch as EpochCode, sequence: 0 as Sequence });
      }),
    );
  }

  #moveTo(region: string): void {
    if (region === this.#primary || this.#closed) return;
    this.#options.logger.info({ from: this.#primary, to: region }, "the primary has moved");
    this.#primary = region;
    for (const resolve of this.#waiting) resolve("unreachable");
  }

  async #keepAlive(group: RegionGroup): Promise<void> {
    const answer = await group.ask({ $case: "keepAlive", value: {} }, KEEP_ALIVE);
    if (typeof answer === "string" && !this.#closed) await this.findPrimary();
  }
}

/** How long a read waits for a region. The time that the region has been down already is subtracted. */
function timeLimits(group: RegionGroup, isPrimary: boolean): { findMs: number; answerMs: number } {
  const findMs = isPrimary ? PRIMARY_FIND_MS : MIRROR_FIND_MS;
  return { findMs: Math.max(0, findMs - group.downForMs), answerMs: READ_ANSWER_MS };
}
