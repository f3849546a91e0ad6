import { regionNames } from "../../../core/regions.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Follower } from "../follower/follower.ts";
import type { Regions } from "../follower/regions.ts";
import { type Formatted, format, formatWithout } from "./format.ts";
import { LossReports } from "./loss-reports.ts";
import { refuseSeal } from "./refuse-seal.ts";
import {
  type Action,
  type EpochEvent,
  type Situation,
  type State,
  type Step,
  stateOf,
  stepOf,
  waits,
} from "./rules.ts";

const ROUND_MS = 100;
const SEALED_ROUND_MS = 25;
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
  readonly #unsubscribe: (() => void)[];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #running = false;
  #leading = false;
  /** The latest epoch that another region has confirmed. */
  #laterEpoch = 0;
  /** performance.now() when a cleared leader of this group was last known. */
  #clearedLeaderMs = performance.now();
  /** Whether this leader asks the other regions anew although its life is cleared. */
  #asksAnew = false;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** performance.now() when this leader began to wait for the other regions; 0: it does not. */
  #waitingMs = 0;
  /** performance.now() when this leader first saw its epoch sealed; 0: it is not sealed. */
  #sealedMs = 0;
  #sealPatienceMs = SEAL_PATIENCE_MS;
  #isFenceAbandoned = false;
  #message = "";
  /** The last message without its duration: each is logged once. */
  #logged = "";

  constructor(context: ServerContext, regions: Regions, follower: Follower) {
    this.#context = context;
    this.#regions = regions;
    this.#follower = follower;
    this.#lossReports = new LossReports(context);
    this.#unsubscribe = [
      context.machine.onTurn(() => void this.#handle({ kind: "applied" })),
      context.group.onChange(() => this.#onLeadership(context.group.leading)),
    ];
    this.#onLeadership(context.group.leading);
    this.#schedule(0);
  }

  /**
   * Whether this server may act in the epoch: it, or a leader that it was alive under, has asked every other region, and no
   * later epoch is known.
   */
  get isCleared(): boolean {
    const { facts, version } = this.#context.machine;
    const { epoch } = version;
    if (this.#asksAnew || this.#laterEpoch > epoch || facts.fence > epoch) return false;
    return facts.isCleared(epoch, this.#context.lives.own);
  }

  /** Why the region refuses changes, or what it waits for; empty if neither. */
  get message(): string {
    return this.#message;
  }

  /** How long a sealed epoch waits for its target to take over before it may be taken back. */
  set sealPatienceMs(ms: number) {
    this.#sealPatienceMs = ms;
  }

  /**
   * A client or another region has seen this epoch of the volume with this uuid. That alone changes nothing: if the epoch is
   * later, this region asks the others.
   */
  hint(epoch: number, uuid: string): void {
    const { group, machine } = this.#context;
    if (!group.leading || uuid === "" || uuid !== machine.tree.volume?.uuid) return;
    if (epoch > Math.max(machine.version.epoch, machine.facts.fence)) void this.#handle({ kind: "hinted" });
  }

  /** Formats the volume by an operator's order: see `formatWithout`. */
  async format(without: readonly string[]): Promise<Formatted> {
    const formatted = await formatWithout(this.#context, this.#regions, without);
    if (formatted.ok) await this.clear();
    return formatted;
  }

  /** Commits that this server and those that it hears may act in the epoch: it knows from elsewhere that it is current. */
  async clear(): Promise<void> {
    const { lives, machine, proposer } = this.#context;
    const { epoch } = machine.version;
    const alive = [lives.own, ...lives.heard.values()];
    if (!(await proposer.local({ kind: "cleared", epoch, lives: alive }))) return;
    this.#asksAnew = false;
    this.#message = "";
  }

  /**
   * A leader that has known no cleared leader for long may have slept through an epoch, so it asks anew. Its life is cleared
   * all the same: this is a second net.
   */
  #onLeadership(leading: boolean): void {
    if (leading === this.#leading) return;
    this.#leading = leading;
    const silentMs = performance.now() - this.#clearedLeaderMs;
    this.#asksAnew = leading && silentMs > this.#context.volume.startAloneWaitMs;
  }

  #noteClearedLeader(): void {
    const { group, lives, machine } = this.#context;
    const { leader } = group.status();
    const life = lives.heard.get(leader);
    const isKnown = group.leading
      ? this.isCleared
      : life !== undefined && machine.facts.isCleared(machine.version.epoch, life);
    if (isKnown) this.#clearedLeaderMs = performance.now();
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
      this.#noteClearedLeader();
      this.#noteWaiting();
      if (this.#context.group.leading) await this.#handle({ kind: "round" });
    } catch (error) {
      this.#context.logger.error(error, "a round of the epoch keeper failed; it is retried");
    } finally {
      this.#running = false;
      this.#schedule(this.#context.machine.role === "sealed" ? SEALED_ROUND_MS : ROUND_MS);
    }
  }

  #noteWaiting(): void {
    const { group, machine } = this.#context;
    if (machine.role !== "sealed") this.#sealedMs = 0;
    else if (this.#sealedMs === 0) this.#sealedMs = performance.now();
    if (!group.leading || !waits(this.#state, this.#situation())) this.#waitingMs = 0;
    else if (this.#waitingMs === 0) this.#waitingMs = performance.now();
  }

  get #state(): State {
    return stateOf(this.#context.machine.state, this.isCleared);
  }

  /** Actions that need no waiting are carried out before this returns: turns rely on it. */
  #handle(event: EpochEvent): Promise<void> | void {
    return this.#carryOut(stepOf(this.#state, this.#situation(), event));
  }

  #carryOut(step: Step): Promise<void> | void {
    for (const [i, action] of step.entries()) {
      const pending = (this.#handlers[action.do] as (action: Action) => Promise<void> | void)(action);
      if (pending !== undefined) return pending.then(() => this.#carryOut(step.slice(i + 1)));
    }
  }

  #situation(): Situation {
    const { volume: description, region, machine, lives } = this.#context;
    const { tree, facts, version } = machine;
    const { nextInode = 0, nextSlice = 0 } = tree.volume ?? {};
    const nowMs = performance.now();
    return {
      region,
      firstRegion: description.primary,
      startAlone: description.startAlone,
      startAloneWaitMs: description.startAloneWaitMs,
      waitedMs: this.#waitingMs === 0 ? 0 : nowMs - this.#waitingMs,
      askedForMs: nowMs - this.#askedMs,
      sealedForMs: this.#sealedMs === 0 ? 0 : nowMs - this.#sealedMs,
      sealPatienceMs: this.#sealPatienceMs,
      isCleared: this.isCleared,
      get hasNewLife() {
        return [...lives.heard.values()].some((life) => !facts.isCleared(version.epoch, life));
      },
      get hasClearedPeer() {
        return [...lives.heard.values()].some((life) => facts.isCleared(version.epoch, life));
      },
      laterEpoch: this.#laterEpoch,
      version,
      regionIndex: machine.regionIndex,
      regions: regionNames(tree.volume),
      sealedTo: tree.sealedTo,
      get isSealDeclined() {
        return facts.isRefused(version); // reads the store: evaluated only by the rule that needs it
      },
      excused: facts.excused,
      sourceCommitted: this.#follower.sourceCommitted,
      fence: facts.fence,
      isFenceAbandoned: this.#isFenceAbandoned,
      lastCounter: Math.max(nextInode, nextSlice),
    };
  }

  readonly #handlers: Handlers = {
    say: ({ message }) => {
      this.#message = message;
      const subject = message.replace(/ \(\d+ s so far\)/, "");
      if (subject !== "" && subject !== this.#logged)
        this.#context.logger.info({ region: this.#context.region }, message);
      this.#logged = subject;
    },
    log: ({ level, fields, text }) => this.#context.logger[level](fields, text),
    ask: async () => {
      this.#askedMs = performance.now();
      const { version, facts } = this.#context.machine;
      const asked = { epoch: version.epoch, excused: facts.excused };
      const answers = await this.#regions.confirmAll();
      await this.#handle({ kind: "answered", asked, answers });
    },
    clear: () => this.clear(),
    countAgain: async ({ region }) => {
      await this.#context.proposer.local({ kind: "excused", region, isGone: false });
    },
    transferLeadership: async () => {
      await this.#context.group.transferLeadership();
    },
    unclear: ({ laterEpoch }) => {
      this.#laterEpoch = laterEpoch;
    },
    noteFence: ({ isAbandoned }) => {
      this.#isFenceAbandoned = isAbandoned;
    },
    fence: async ({ epoch }) => {
      await this.#context.proposer.local({ kind: "fence", epoch });
      this.#follower.wake();
    },
    runRoundNow: () => this.#schedule(0),
    askTarget: async ({ to, seal }) => {
      const target = await this.#regions.confirm(to);
      if (typeof target !== "string") await this.#handle({ kind: "targetAnswered", to, seal, target });
    },
    askToDecline: async ({ to, seal, address }) => {
      const { volume } = this.#context.volume;
      if (await refuseSeal(this.#regions.admin(address), volume, seal)) {
        await this.#handle({ kind: "declined", to, seal });
      }
    },
    reportLosses: async ({ reachable }) => {
      await this.#lossReports.ensure(reachable);
      await this.#handle({ kind: "reported" });
    },
    propose: async ({ command, taken }) => {
      const applied = await this.#context.proposer.internal(command);
      if (applied?.taken) await this.#carryOut(taken);
    },
    format: async () => {
      if (await format(this.#context)) await this.clear();
    },
    followElsewhere: () => this.#follower.foundElsewhere(),
    wakeFollower: () => this.#follower.wake(),
  };

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const stop of this.#unsubscribe) stop();
  }
}
