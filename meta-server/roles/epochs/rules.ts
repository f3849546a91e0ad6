/**
 * The rules of epochs as a total table: what a region's leader does in each state at each event. A rule is a pure function of
 * the situation and the event, and returns a step: the actions that the epoch keeper carries out, in order.
 */
import type { Beginning, Command } from "../../../core/commands.ts";
import {
  COUNTER_LIMIT,
  type EpochCode,
  epochCode,
  epochNumber,
  type RegionIndex,
  type Version,
} from "../../../core/ids.ts";
import type { ConfirmAnswer } from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { Role } from "../../machine/machine.ts";
import type { Answers, Confirmed } from "../follower/regions.ts";

const WATCH_EVERY_MS = 2_000;
/** How long the first region waits before it formats the volume without an answer of regions whose servers are not running. */
const DOWN_PATIENCE_MS = 3_000;
/** The next epoch, with counters of its own, is begun when only this many ids are left. */
const COUNTER_RESERVE = 2 ** 20;
/** An epoch that is further ahead than this is not a real one. Each promotion by force leaves up to 16 numbers out. */
const EPOCH_LEAP_MAX = 64 * 16;

/** The machine's role, or `waiting`: a primary that does not know yet whether its epoch is still current. */
export type State = Role | "waiting";

/** What the rules read besides the event. */
export interface Situation {
  readonly region: string;
  /** The region that formats the volume, by the volume file. */
  readonly firstRegion: string;
  readonly startAlone: "serve" | "wait";
  readonly startAloneWaitMs: number;
  /** Since this server started. */
  readonly startedForMs: number;
  /** Since the other regions were last asked for their epochs. */
  readonly watchedForMs: number;
  /** Since this leader first saw its epoch sealed; 0 if it is not. */
  readonly sealedForMs: number;
  /** How long a sealed epoch waits for its target to take over before it may be taken back. */
  readonly sealPatienceMs: number;
  /** Whether this server knows, as far as it can, that its epoch is current. */
  readonly cleared: boolean;
  readonly version: Version;
  readonly regionIndex: RegionIndex | undefined;
  readonly regions: readonly string[];
  readonly sealedTo: RegionIndex | undefined;
  /** Whether this region has declined to begin an epoch from the seal at `version`. */
  readonly isSealDeclined: boolean;
  /** Whether this region's state differs from the primary's: it begins no epoch. */
  readonly isDiverged: boolean;
  /** The latest epoch because of which this region was fenced; 0: none. */
  readonly fence: number;
  /** The higher of the two id counters of the epoch. */
  readonly lastCounter: number;
}

export type EpochEvent =
  /** Every 100 ms, and every 25 ms while the epoch is sealed. */
  | { readonly kind: "round" }
  /** An unformatted region has asked the others whether they hold the volume. */
  | {
      readonly kind: "surveyed";
      readonly answers: Answers;
      /** Whether nothing listens at any address of the missing regions. */
      readonly areMissingDown: boolean;
    }
  /** A primary has asked the other regions for their epochs. The answers before `next` have been judged. */
  | { readonly kind: "watched"; readonly answers: Answers; readonly next: number }
  /** The loss report of a forced epoch is committed, or none is due. */
  | { readonly kind: "reported" }
  /** The region that the epoch is sealed to has answered. */
  | { readonly kind: "targetAnswered"; readonly to: string; readonly seal: Version; readonly target: Confirmed }
  /** That region has committed that it will not begin an epoch from this seal. */
  | { readonly kind: "declined"; readonly to: string; readonly seal: Version }
  /** A client has seen this epoch. */
  | { readonly kind: "epochSeen"; readonly epoch: EpochCode }
  /** The machine applied a turn, at any member. `hasFresh`: it took a command that was stamped after this server started. */
  | { readonly kind: "applied"; readonly hasFresh: boolean };

export type Action =
  /** Sets the message that the region's status shows. */
  | { readonly do: "say"; readonly message: string }
  | { readonly do: "log"; readonly level: "info" | "warn"; readonly fields: object; readonly text: string }
  /** The epoch is known to be current: changes are accepted. */
  | { readonly do: "clear" }
  | { readonly do: "unclear" }
  | { readonly do: "runRoundNow" }
  /** Raises `surveyed`. */
  | { readonly do: "survey" }
  /** Raises `watched`. */
  | { readonly do: "watch" }
  /** Raises `targetAnswered`. */
  | { readonly do: "askTarget"; readonly to: string; readonly seal: Version }
  /** Asks the target to decline for good; raises `declined` if it does. */
  | { readonly do: "askToDecline"; readonly to: string; readonly seal: Version; readonly address: string }
  /** Raises `reported`. */
  | { readonly do: "reportLosses"; readonly reachable: ReadonlyMap<string, unknown> }
  /** `taken`: the step that follows if the command is taken. */
  | { readonly do: "propose"; readonly command: Command; readonly taken: Step }
  | { readonly do: "format" }
  /** Commits the fence. `failed`: the event that is raised if it could not be committed. */
  | { readonly do: "fence"; readonly epoch: EpochCode; readonly failed: EpochEvent | undefined }
  /** Another region holds the volume: the follower looks for its primary. */
  | { readonly do: "followElsewhere" }
  | { readonly do: "wakeFollower" };

/** Carried out in order; each action starts after the one before it has ended. */
export type Step = readonly Action[];

type EventOf<K extends EpochEvent["kind"]> = Extract<EpochEvent, { kind: K }>;
type Rule<K extends EpochEvent["kind"]> = (at: Situation, event: EventOf<K>) => Step;
type Rules = { readonly [S in State]: { readonly [K in EpochEvent["kind"]]: Rule<K> } };

const nothing = (): Step => [];

/** Answers to what a primary or a sealed primary asked count in whatever state it is when they arrive. */
const ANSWERS = { watched, reported, targetAnswered, declined };

export const RULES: Rules = {
  unformatted: {
    round: (at) => (at.firstRegion === at.region ? [{ do: "survey" }] : []),
    surveyed,
    watched: nothing,
    reported: nothing,
    targetAnswered: nothing,
    declined: nothing,
    epochSeen: nothing,
    applied: nothing,
  },
  waiting: {
    round: () => [{ do: "watch" }],
    surveyed: nothing,
    ...ANSWERS,
    epochSeen,
    // A command since this server's start was proposed by a leader that had asked the other regions; so was a new epoch.
    applied: (_, { hasFresh }) => (hasFresh ? [{ do: "clear" }, say("")] : []),
  },
  primary: {
    round: (at) => (at.watchedForMs < WATCH_EVERY_MS ? [] : [{ do: "watch" }]),
    surveyed: nothing,
    ...ANSWERS,
    epochSeen,
    applied: nothing,
  },
  sealed: {
    round: sealedRound,
    surveyed: nothing,
    ...ANSWERS,
    epochSeen,
    applied: nothing,
  },
  fenced: {
    round: () => [
      say(
        "fenced: a later epoch has begun in another region, so changes are refused here; 'mirrorfs status' shows the primary",
      ),
    ],
    surveyed: nothing,
    ...ANSWERS,
    epochSeen: nothing,
    applied: nothing,
  },
  mirror: {
    round: mirrorRound,
    surveyed: nothing,
    ...ANSWERS,
    epochSeen: nothing,
    applied: (at) => (isSealedToSelf(at) ? [{ do: "runRoundNow" }] : []),
  },
};

export function stateOf(role: Role, cleared: boolean): State {
  return role === "primary" && !cleared ? "waiting" : role;
}

export function stepOf(state: State, at: Situation, event: EpochEvent): Step {
  return (RULES[state][event.kind] as (at: Situation, event: EpochEvent) => Step)(at, event);
}

/**
 * The volume's first region formats it, unless another region holds it already. A region that does not answer may hold it: a
 * primary group that has lost everything must not format a second volume.
 */
function surveyed(at: Situation, { answers, areMissingDown }: EventOf<"surveyed">): Step {
  const { confirmed, missing } = answers;
  const holder = holderIn(confirmed);
  if (holder !== undefined) {
    const message =
      missing.size === 0 && ![...confirmed.values()].some(isOrWasPrimary)
        ? `${at.region} was the primary and has lost its state, and ${holder.region} still holds the volume: run 'mirrorfs promote --region ${holder.region} --force'`
        : "another region holds the volume: looking for its primary, to follow it";
    return [say(message), { do: "followElsewhere" }];
  }
  const patienceMs = areMissingDown ? Math.min(at.startAloneWaitMs, DOWN_PATIENCE_MS) : at.startAloneWaitMs;
  if (missing.size === 0 || (at.startAlone === "serve" && at.startedForMs >= patienceMs)) return [{ do: "format" }];
  return [say(`not formatted: ${waitingFor(missing, at)}, which may hold the volume already; ${START_THEM}`)];
}

/**
 * A later epoch fences this region. Otherwise a primary that has started serves once all have answered, or as `startAlone`
 * says.
 */
function watched(at: Situation, event: EventOf<"watched">): Step {
  const { confirmed, missing } = event.answers;
  const { next } = event;
  const epochs = [...confirmed.values()].map(({ version }) => asVersion(version).epoch);
  for (const [i, epoch] of epochs.entries()) {
    if (i >= next && mustFence(at, epoch)) return fence(at, epoch, { ...event, next: i + 1 });
  }
  const report: Action = { do: "reportLosses", reachable: confirmed };
  if (at.cleared) return [report];
  const isAlone = missing.size > 0;
  if (isAlone && (at.startAlone === "wait" || at.startedForMs < at.startAloneWaitMs)) {
    return [say(`changes are refused: ${waitingFor(missing, at)}, where a later epoch may have begun; ${START_THEM}`)];
  }
  const fields = { missing: [...missing.keys()], waitedMs: at.startedForMs };
  const warning: Action = { do: "log", level: "warn", fields, text: "serving without an answer from these regions" };
  return [{ do: "clear" }, say(""), ...(isAlone ? [warning] : []), report];
}

/** Begins the next epoch, with counters of its own, before the ids of this one are used up. */
function reported(at: Situation): Step {
  if (at.lastCounter < COUNTER_LIMIT - COUNTER_RESERVE) return [];
  return [beginEpoch(at, at.version, { how: "counters" }, [])];
}

function epochSeen(at: Situation, { epoch }: EventOf<"epochSeen">): Step {
  return mustFence(at, epoch) ? fence(at, epoch, undefined) : [];
}

function sealedRound(at: Situation): Step {
  const to = at.regions[at.sealedTo!]!;
  return [
    say(`switchover to ${to}: changes wait for it to take over (${seconds(at.sealedForMs)} so far)`),
    { do: "askTarget", to, seal: at.version },
  ];
}

/** The epoch is taken back only after the target has declined for good: it could otherwise still begin the next one. */
function targetAnswered(at: Situation, { to, seal, target }: EventOf<"targetAnswered">): Step {
  if (asVersion(target.answer.version).epoch > seal.epoch) return [{ do: "wakeFollower" }];
  return at.sealedForMs < at.sealPatienceMs ? [] : [{ do: "askToDecline", to, seal, address: target.address }];
}

function declined(at: Situation, { to, seal }: EventOf<"declined">): Step {
  const text = "the switchover was aborted: its target declined, and this region remains the primary";
  const taken: Step = [say(""), { do: "log", level: "warn", fields: { to }, text }];
  return [beginEpoch(at, seal, { how: "resumed", declined: seal }, taken)];
}

function mirrorRound(at: Situation): Step {
  const step: Action[] = [{ do: "unclear" }, say("")];
  if (!isSealedToSelf(at) || at.isDiverged || at.isSealDeclined) return step;
  const fields = { epoch: epochNumber(at.version.epoch) + 1 };
  const text = "took over as the primary, in the next epoch";
  return [...step, beginEpoch(at, at.version, { how: "sealed" }, [{ do: "log", level: "info", fields, text }])];
}

function isSealedToSelf({ sealedTo, regionIndex }: Situation): boolean {
  return sealedTo !== undefined && sealedTo === regionIndex;
}

/** Whether an epoch ends this one. Not if the region is fenced for it already, or if it is too far ahead to be real. */
function mustFence({ version, fence: fencedFor }: Situation, epoch: EpochCode): boolean {
  const leap = epochNumber(epoch) - epochNumber(version.epoch);
  return epoch > version.epoch && leap <= EPOCH_LEAP_MAX && epoch > fencedFor;
}

function fence(at: Situation, epoch: EpochCode, failed: EpochEvent | undefined): Step {
  const text = "a later epoch has begun in another region: this one is fenced";
  return [
    { do: "log", level: "warn", fields: { epoch, own: at.version.epoch }, text },
    { do: "fence", epoch, failed },
  ];
}

/** Begins the epoch after that of `version`, with this region as its primary. */
function beginEpoch({ regionIndex }: Situation, version: Version, beginning: Beginning, taken: Step): Action {
  const epoch = epochCode(epochNumber(version.epoch) + 1, regionIndex!);
  return { do: "propose", command: { kind: "beginEpoch", epoch, ...beginning }, taken };
}

const START_THEM = "start the metadata servers there (mirrorfs meta)";

function waitingFor(missing: Answers["missing"], { startedForMs }: Situation): string {
  const names = [...missing].map(([region, against]) => (against === "" ? region : `${region}, where ${against}`));
  return `waiting for ${names.join("; ")} (${seconds(startedForMs)} so far)`;
}

function seconds(ms: number): string {
  return `${Math.floor(ms / 1000)} s`;
}

function say(message: string): Action {
  return { do: "say", message };
}

/** Of the regions that hold the volume, the one with the latest epoch. */
function holderIn(confirmed: Answers["confirmed"]): ConfirmAnswer | undefined {
  let holder: ConfirmAnswer | undefined;
  for (const answer of confirmed.values()) {
    if (answer.uuid === "") continue;
    if (holder === undefined || asVersion(answer.version).epoch > asVersion(holder.version).epoch) holder = answer;
  }
  return holder;
}

function isOrWasPrimary({ state }: ConfirmAnswer): boolean {
  return state === "primary" || state === "sealed" || state === "fenced";
}
