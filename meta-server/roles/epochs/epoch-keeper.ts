import { randomUUID } from "node:crypto";
import type { EpochCode, RegionIndex, Time } from "../../../core/ids.ts";
import { regionNames } from "../../../core/regions.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Follower } from "../follower/follower.ts";
import type { Regions } from "../follower/regions.ts";
import { LossReports } from "./loss-reports.ts";
import { refuseSeal } from "./refuse-seal.ts";
import { type Action, type EpochEvent, type Situation, type Step, stateOf, stepOf } from "./rules.ts";

const ROUND_MS = 100;
const SEALED_ROUND_MS = 25;
const ASK_MS = 1_500;
const SEAL_PATIENCE_MS = 10_000;

type ActionOf<K extends Action["do"]> = Extract<Action, { do: K }>;
type Handlers = { readonly [K in Action["do"]]: (action: ActionOf<K>) => Promise<void> | void };

/**
 * Keeps a region's epoch. Its leader formats the volume, begins an epoch that was sealed to this region, hands a sealed one
 * over or takes it back, and fences the region when a later epoch has begun elsewhere. The decisions are in rules.ts; this
 * class collects the situation, raises the events and carries out the steps.
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
  /** performance.now() when this leader first saw its epoch sealed; 0: it is not sealed. */
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

  /** False while a primary that has just started does not know whether its epoch is still current. */
  get cleared(): boolean {
    return this.#cleared;
  }

  /** Why the region refuses changes, or what it waits for; empty if neither. */
  get message(): string {
    return this.#message;
  }

  /** How long a sealed epoch waits for its target to take over before it may be taken back. */
  set sealPatienceMs(ms: number) {
    this.#sealPatienceMs = ms;
  }

  /** A client has seen this epoch. */
  epochSeen(epoch: EpochCode): void {
    if (this.#context.group.leading) void this.#handle({ kind: "epochSeen", epoch });
  }

  #onTurn(hasTaken: boolean): void {
    const hasFresh = hasTaken && millis(this.#context.machine.lastTime) > this.#startedMs;
    void this.#handle({ kind: "applied", hasFresh });
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
      if (this.#context.group.leading) {
        this.#noteSeal();
        await this.#handle({ kind: "round" });
      }
    } catch (error) {
      this.#context.logger.error(error, "a round of the epoch keeper failed; it is retried");
    } finally {
      this.#running = false;
      this.#schedule(this.#context.machine.role === "sealed" ? SEALED_ROUND_MS : ROUND_MS);
    }
  }

  #noteSeal(): void {
    if (this.#context.machine.role !== "sealed") this.#sealedMs = 0;
    else if (this.#sealedMs === 0) this.#sealedMs = performance.now();
  }

  /** Actions that need no waiting are carried out before this returns: turns rely on it. */
  #handle(event: EpochEvent): Promise<void> | void {
    const state = stateOf(this.#context.machine.role, this.#cleared);
    return this.#carryOut(stepOf(state, this.#situation(), event));
  }

  #carryOut(step: Step): Promise<void> | void {
    for (const [i, action] of step.entries()) {
      const pending = (this.#handlers[action.do] as (action: Action) => Promise<void> | void)(action);
      if (pending !== undefined) return pending.then(() => this.#carryOut(step.slice(i + 1)));
    }
  }

  #situation(): Situation {
    const { volume: description, region, machine } = this.#context;
    const { tree, facts, version } = machine;
    const { nextInode = 0, nextSlice = 0 } = tree.volume ?? {};
    const nowMs = Date.now();
    return {
      region,
      firstRegion: description.primary,
      startAlone: description.startAlone,
      startAloneWaitMs: description.startAloneWaitMs,
      startedForMs: nowMs - this.#startedMs,
      watchedForMs: nowMs - this.#watchedMs,
      sealedForMs: this.#sealedMs === 0 ? 0 : performance.now() - this.#sealedMs,
      sealPatienceMs: this.#sealPatienceMs,
      cleared: this.#cleared,
      version,
      regionIndex: machine.regionIndex,
      regions: regionNames(tree.volume),
      sealedTo: tree.sealedTo,
      get isSealDeclined() {
        return facts.isRefused(version); // reads the store: evaluated only by the rule that needs it
      },
      fence: facts.fence,
      lastCounter: Math.max(nextInode, nextSlice),
    };
  }

  readonly #handlers: Handlers = {
    say: ({ message }) => {
      this.#message = message;
    },
    log: ({ level, fields, text }) => this.#context.logger[level](fields, text),
    clear: () => {
      this.#cleared = true;
    },
    unclear: () => {
      this.#cleared = false;
    },
    runRoundNow: () => this.#schedule(0),
    survey: async () => {
      const others = await this.#regions.askAll(ASK_MS);
      const missing = this.#missing(others);
      const areMissingDown = missing.every((other) => this.#regions.isDown(other));
      await this.#handle({ kind: "surveyed", others, missing, areMissingDown });
    },
    watch: async () => {
      this.#watchedMs = Date.now();
      const others = await this.#regions.askAll(ASK_MS);
      await this.#handle({ kind: "watched", others, missing: this.#missing(others), next: 0 });
    },
    askTarget: async ({ to, seal }) => {
      const status = await this.#regions.ask(to, ASK_MS);
      await this.#handle({ kind: "targetAnswered", to, seal, status });
    },
    askToDecline: async ({ to, seal, status }) => {
      const address = this.#regions.leaderAddress(to, status);
      if (address === undefined) return;
      const { volume } = this.#context.volume;
      if (await refuseSeal(this.#regions.admin(address), volume, seal)) {
        await this.#handle({ kind: "declined", to, seal });
      }
    },
    reportLosses: async ({ others }) => {
      await this.#lossReports.ensure(others);
      await this.#handle({ kind: "reported" });
    },
    propose: async ({ command, taken }) => {
      const applied = await this.#context.proposer.internal(command);
      if (applied?.taken) await this.#carryOut(taken);
    },
    format: () => this.#format(),
    fence: async ({ epoch, failed }) => {
      const fenced = await this.#context.proposer.local({ kind: "fence", epoch });
      this.#follower.wake();
      if (!fenced && failed !== undefined) await this.#handle(failed);
    },
    followElsewhere: () => this.#follower.foundElsewhere(),
    wakeFollower: () => this.#follower.wake(),
  };

  #missing(others: ReadonlyMap<string, unknown>): string[] {
    return this.#regions.others.filter((other) => !others.has(other));
  }

  async #format(): Promise<void> {
    const { volume, region, proposer, logger, supports: features } = this.#context;
    const regions = [...volume.regions.keys()];
    const primary = regions.indexOf(region) as RegionIndex;
    const uuid = randomUUID();
    const applied = await proposer.internal({
      kind: "format",
      uuid,
      volume: volume.volume,
      regions,
      primary,
      features,
    });
    if (applied?.taken) logger.info({ volume: volume.volume, uuid, regions }, "volume formatted");
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unsubscribe();
  }
}

function millis(time: Time): number {
  return time.seconds * 1000 + time.nanoseconds / 1e6;
}
