import { randomUUID } from "node:crypto";
import {
  COUNTER_LIMIT,
  type EpochCode,
  epochCode,
  epochNumber,
  type RegionIndex,
  type Time,
} from "../../../core/ids.ts";
import type { RegionStatus } from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Follower } from "../follower/follower.ts";
import type { Regions } from "../follower/regions.ts";
import { LossReports } from "./loss-reports.ts";
import { refuseSeal } from "./refuse-seal.ts";

const ROUND_MS = 100;
const SEALED_ROUND_MS = 25;
const ASK_MS = 1_500;
const WATCH_EVERY_MS = 2_000;
const SEAL_PATIENCE_MS = 10_000;
/** How long servers that are not started yet are waited for before a volume is made without having asked them. */
const DOWN_PATIENCE_MS = 3_000;
/** Ids that are left when the next epoch, with counters of its own, is begun. */
const COUNTER_RESERVE = 2 ** 24;
/** Epochs further ahead than this come from nowhere. */
const EPOCH_LEAP_MAX = 64;

/**
 * What the leader of a region does about epochs, as the state tells it: makes the volume, begins an epoch that was sealed
 * to it, gives a sealed one away or takes it back, and fences itself when another has begun elsewhere.
 */
export class EpochKeeper {
  readonly #context: ServerContext;
  readonly #regions: Regions;
  readonly #follower: Follower;
  readonly #lossReports: LossReports;
  readonly #startedMs = Date.now();
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #running = false;
  #cleared = false;
  #watchedMs = 0;
  #sealedMs = 0;
  #sealPatienceMs = SEAL_PATIENCE_MS;
  #message = "";

  constructor(context: ServerContext, regions: Regions, follower: Follower) {
    this.#context = context;
    this.#regions = regions;
    this.#follower = follower;
    this.#lossReports = new LossReports(context);
    this.#unsubscribe = context.machine.onTurn(({ taken }) => this.#onTurn(taken.length > 0));
    this.#schedule(0);
  }

  /** False while a primary that has just started does not know whether its epoch lasts. */
  get cleared(): boolean {
    return this.#cleared;
  }

  /** Why the region refuses changes, or what it waits for. */
  get message(): string {
    return this.#message;
  }

  /** How long a sealed epoch waits for the other region before it is taken back. */
  set sealPatienceMs(ms: number) {
    this.#sealPatienceMs = ms;
  }

  /** Somebody has seen this epoch. */
  heard(epoch: EpochCode): void {
    const { group, machine } = this.#context;
    if (!group.leading || epoch <= machine.version.epoch) return;
    if (machine.role !== "primary" && machine.role !== "sealed") return;
    void this.#fence(epoch);
  }

  /** What was proposed since this server started was proposed by a leader that had asked; so was a new epoch. */
  #onTurn(taken: boolean): void {
    const { machine } = this.#context;
    if (taken && !this.#cleared && machine.role === "primary" && millis(machine.lastTime) > this.#startedMs) {
      this.#cleared = true;
    }
    if (machine.role === "mirror" && machine.tree.sealedTo === machine.regionIndex) this.#schedule(0);
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#round(), ms);
  }

  async #round(): Promise<void> {
    if (this.#running) {
      this.#schedule(SEALED_ROUND_MS);
      return;
    }
    this.#running = true;
    try {
      if (this.#context.group.leading) await this.#act();
    } catch (error) {
      this.#context.logger.error(error, "epochs");
    } finally {
      this.#running = false;
      this.#schedule(this.#context.machine.role === "sealed" ? SEALED_ROUND_MS : ROUND_MS);
    }
  }

  async #act(): Promise<void> {
    const { role } = this.#context.machine;
    if (role !== "sealed") this.#sealedMs = 0;
    if (role === "unformatted") await this.#format();
    else if (role === "primary") await this.#asPrimary();
    else if (role === "sealed") await this.#asSealed();
    else if (role === "mirror") await this.#asMirror();
    else this.#message = "a later epoch has begun elsewhere: no change is taken here";
  }

  /** The volume's first region makes it, unless another region has it already. */
  async #format(): Promise<void> {
    const { volume, region, proposer, logger } = this.#context;
    if (volume.primary !== region) return;
    const others = await this.#regions.askAll(ASK_MS);
    const holder = holderIn(others);
    if (holder !== undefined) {
      this.#message =
        holder.epochRegion === region
          ? `${region} was the primary and has lost its state; ${holder.region} has the volume: promote ${holder.region}`
          : "another region has the volume: following it";
      this.#follower.foundElsewhere();
      return;
    }
    if (!this.#mayFormat(others)) return;
    const regions = [...volume.regions.keys()];
    const primary = regions.indexOf(region) as RegionIndex;
    const uuid = randomUUID();
    const applied = await proposer.internal({ kind: "format", uuid, volume: volume.volume, regions, primary });
    if (applied?.taken) logger.info({ volume: volume.volume, uuid, regions }, "volume formatted");
  }

  /** A region that does not answer may have the volume: a primary group that has lost everything must not make another. */
  #mayFormat(others: ReadonlyMap<string, RegionStatus>): boolean {
    const { startAlone, startAloneWaitMs } = this.#context.volume;
    const missing = this.#regions.others.filter((other) => !others.has(other));
    const areDown = missing.every((other) => this.#regions.isDown(other));
    const patienceMs = areDown ? Math.min(startAloneWaitMs, DOWN_PATIENCE_MS) : startAloneWaitMs;
    const alone = startAlone === "serve" && Date.now() - this.#startedMs >= patienceMs;
    if (missing.length === 0 || alone) return true;
    this.#message = `the volume is not made yet: waiting for ${missing.join(", ")}, which may have it already`;
    return false;
  }

  async #asPrimary(): Promise<void> {
    const { machine } = this.#context;
    const nowMs = Date.now();
    if (this.#cleared && nowMs - this.#watchedMs < WATCH_EVERY_MS) return;
    this.#watchedMs = nowMs;
    const others = await this.#regions.askAll(ASK_MS);
    for (const status of others.values()) {
      const { epoch } = asVersion(status.version);
      if (epoch > machine.version.epoch && (await this.#fence(epoch))) return;
    }
    this.#clear(others);
    if (!this.#cleared) return;
    await this.#lossReports.ensure(others);
    await this.#renewCounters();
  }

  /** A primary that starts serves once every other region has told its epoch, or as `startAlone` says. */
  #clear(others: ReadonlyMap<string, RegionStatus>): void {
    if (this.#cleared) return;
    const { volume, logger } = this.#context;
    const missing = this.#regions.others.filter((region) => !others.has(region));
    const waitedMs = Date.now() - this.#startedMs;
    const alone = volume.startAlone === "serve" && waitedMs >= volume.startAloneWaitMs;
    this.#cleared = missing.length === 0 || alone;
    this.#message = this.#cleared ? "" : `waiting for ${missing.join(", ")}: a later epoch may have begun there`;
    if (this.#cleared && missing.length > 0) logger.warn({ missing, waitedMs }, "serving without having heard of them");
  }

  async #renewCounters(): Promise<void> {
    const { machine, proposer } = this.#context;
    const { nextInode, nextSlice, version } = machine.tree.volume!;
    if (Math.max(nextInode, nextSlice) < COUNTER_LIMIT - COUNTER_RESERVE) return;
    const epoch = epochCode(epochNumber(version.epoch) + 1, machine.regionIndex!);
    await proposer.internal({ kind: "beginEpoch", epoch, forced: false });
  }

  async #fence(epoch: EpochCode): Promise<boolean> {
    const { machine, proposer, logger } = this.#context;
    if (epochNumber(epoch) - epochNumber(machine.version.epoch) > EPOCH_LEAP_MAX || epoch <= machine.facts.fence)
      return false;
    logger.warn({ epoch, own: machine.version.epoch }, "a later epoch has begun elsewhere: fenced");
    const fenced = await proposer.local({ kind: "fence", epoch });
    this.#follower.wake();
    return fenced;
  }

  /** The region that the epoch is sealed to begins the next one, or declines for good: only then it is taken back. */
  async #asSealed(): Promise<void> {
    const { machine, proposer, logger } = this.#context;
    const { version, regions, sealedTo } = machine.tree.volume!;
    if (this.#sealedMs === 0) this.#sealedMs = performance.now();
    const to = regions[sealedTo!]!;
    this.#message = `sealed to ${to}: waiting for it to begin the next epoch`;
    const status = await this.#regions.ask(to, ASK_MS);
    if ((status?.version?.epoch ?? 0) > version.epoch) {
      this.#follower.wake();
      return;
    }
    if (performance.now() - this.#sealedMs < this.#sealPatienceMs || status === undefined) return;
    const address = this.#regions.leaderAddress(to, status);
    if (
      address === undefined ||
      !(await refuseSeal(this.#regions.admin(address), this.#context.volume.volume, version))
    ) {
      return;
    }
    const epoch = epochCode(epochNumber(version.epoch) + 1, machine.regionIndex!);
    const applied = await proposer.internal({ kind: "beginEpoch", epoch, forced: false });
    if (applied?.taken) {
      this.#message = "";
      logger.warn({ to }, "the switchover was given up: the epoch goes on here");
    }
  }

  async #asMirror(): Promise<void> {
    const { machine, proposer, logger } = this.#context;
    this.#cleared = false;
    this.#message = "";
    const { sealedTo, version } = machine.tree.volume!;
    if (sealedTo === undefined || sealedTo !== machine.regionIndex || machine.facts.isRefused(version)) return;
    const epoch = epochCode(epochNumber(version.epoch) + 1, sealedTo);
    const applied = await proposer.internal({ kind: "beginEpoch", epoch, forced: false });
    if (applied?.taken) logger.info({ epoch: epochNumber(epoch) }, "begun the next epoch");
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unsubscribe();
  }
}

/** The region whose volume has the latest epoch of those that have one. */
function holderIn(others: ReadonlyMap<string, RegionStatus>): RegionStatus | undefined {
  let holder: RegionStatus | undefined;
  for (const status of others.values()) {
    if (status.role === "unformatted") continue;
    if (holder === undefined || (status.version?.epoch ?? 0) > (holder.version?.epoch ?? 0)) holder = status;
  }
  return holder;
}

function millis(time: Time): number {
  return time.seconds * 1000 + time.nanoseconds / 1e6;
}
