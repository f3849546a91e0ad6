/**
 * The rules of epochs, as a total table: what a region's leader does in each state at each event. Pure: a rule reads the
 * situation and the event and answers with a step, the actions that the epoch keeper carries out in their order. No clock, no
 * network, no log.
 */
import type { Command } from "../../../core/commands.ts";
import {
  COUNTER_LIMIT,
  type EpochCode,
  epochCode,
  epochNumber,
  type RegionIndex,
  type Version,
} from "../../../core/ids.ts";
import type { RegionStatus } from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { Role } from "../../machine/machine.ts";

const WATCH_EVERY_MS = 2_000;
/** How long servers that are not started yet are waited for before a volume is made without having asked them. */
const DOWN_PATIENCE_MS = 3_000;
/** Ids that are left when the next epoch, with counters of its own, is begun. */
const COUNTER_RESERVE = 2 ** 24;
/** Epochs further ahead than this come from nowhere. */
const EPOCH_LEAP_MAX = 64;

/** The machine's role; a primary that does not know yet whether its epoch lasts is `waiting`. */
export type State = Role | "waiting";

/** What the rules read beside the event. Durations are in ms. */
export interface Situation {
  readonly region: string;
  /** The region that makes the volume, by the volume file. */
  readonly firstRegion: string;
  readonly startAlone: "serve" | "wait";
  readonly startAloneWaitMs: number;
  /** Since this server started. */
  readonly startedForMs: number;
  /** Since a primary last asked the other regions for their epochs. */
  readonly watchedForMs: number;
  /** Since this leader found the epoch sealed. */
  readonly sealedForMs: number;
  /** How long a sealed epoch waits for its target before it is taken back. */
  readonly sealPatienceMs: number;
  /** Whether this leader knows, as far as it can, that its epoch lasts. */
  readonly cleared: boolean;
  readonly version: Version;
  readonly regionIndex: RegionIndex | undefined;
  readonly regions: readonly string[];
  readonly sealedTo: RegionIndex | undefined;
  /** Whether this region has declined to begin an epoch from the seal at `version`. */
  readonly isSealDeclined: boolean;
  /** The latest epoch that this region has fenced itself for; 0: none. */
  readonly fence: number;
  /** The higher of the epoch's two counters of ids. */
  readonly lastCounter: number;
}

type Statuses = ReadonlyMap<string, RegionStatus>;

export type EpochEvent =
  /** Every 100 ms, and every 25 ms while the epoch is sealed. */
  | { readonly kind: "round" }
  /** The other regions were asked whether one has the volume. */
  | {
      readonly kind: "surveyed";
      readonly others: Statuses;
      readonly missing: readonly string[];
      /** Nothing listens at any address of those that are missing. */
      readonly areMissingDown: boolean;
    }
  /** The other regions were asked for their epochs; those before `next` have been judged. */
  | {
      readonly kind: "watched";
      readonly others: Statuses;
      readonly missing: readonly string[];
      readonly next: number;
    }
  /** The loss report of a forced epoch is kept, or none is due. */
  | { readonly kind: "reported" }
  /** The region that the epoch is sealed to was asked for its status; undefined: it did not answer. */
  | {
      readonly kind: "targetAnswered";
      readonly to: string;
      readonly seal: Version;
      readonly status: RegionStatus | undefined;
    }
  /** That region has committed that it will not begin an epoch from this seal. */
  | { readonly kind: "declined"; readonly to: string; readonly seal: Version }
  /** A client has seen this epoch. */
  | { readonly kind: "heard"; readonly epoch: EpochCode }
  /** A turn of the machine, at any member. `hasFresh`: it took a command that was stamped after this server had started. */
  | { readonly kind: "applied"; readonly hasFresh: boolean };

export type Action =
  /** What status says from now on. */
  | { readonly do: "say"; readonly message: string }
  | { readonly do: "log"; readonly level: "info" | "warn"; readonly fields: object; readonly text: string }
  /** Changes are taken. */
  | { readonly do: "clear" }
  | { readonly do: "unclear" }
  | { readonly do: "runRoundNow" }
  /** Leads to `surveyed`. */
  | { readonly do: "survey" }
  /** Leads to `watched`. */
  | { readonly do: "watch" }
  /** Leads to `targetAnswered`. */
  | { readonly do: "askTarget"; readonly to: string; readonly seal: Version }
  /** Leads to `declined`, if the target declines. */
  | { readonly do: "askToDecline"; readonly to: string; readonly seal: Version; readonly status: RegionStatus }
  /** Leads to `reported`. */
  | { readonly do: "reportLosses"; readonly others: Statuses }
  /** `taken`: what follows once the command is taken. */
  | { readonly do: "propose"; readonly command: Command; readonly taken: Step }
  | { readonly do: "format" }
  /** Commits the fence; `failed`: the event that follows if it is not committed. */
  | { readonly do: "fence"; readonly epoch: EpochCode; readonly failed: EpochEvent | undefined }
  /** The volume is another region's: the follower may look for it. */
  | { readonly do: "followElsewhere" }
  | { readonly do: "wakeFollower" };

/** Carried out in order, each after the one before it has ended. */
export type Step = readonly Action[];

type EventOf<K extends EpochEvent["kind"]> = Extract<EpochEvent, { kind: K }>;
type Rule<K extends EpochEvent["kind"]> = (at: Situation, event: EventOf<K>) => Step;
type Rules = { readonly [S in State]: { readonly [K in EpochEvent["kind"]]: Rule<K> } };

const nothing = (): Step => [];

/** The rules of what was asked as a primary or as a sealed one: the answers hold although the role has changed meanwhile. */
const ANSWERS = { watched, reported, targetAnswered, declined };

export const RULES: Rules = {
  unformatted: {
    round: (at) => (at.firstRegion === at.region ? [{ do: "survey" }] : []),
    surveyed,
    watched: nothing,
    reported: nothing,
    targetAnswered: nothing,
    declined: nothing,
    heard: nothing,
    applied: nothing,
  },
  waiting: {
    round: () => [{ do: "watch" }],
    surveyed: nothing,
    ...ANSWERS,
    heard,
    // What was proposed since this server started was proposed by a leader that had asked; so was a new epoch.
    applied: (_, { hasFresh }) => (hasFresh ? [{ do: "clear" }] : []),
  },
  primary: {
    round: (at) => (at.watchedForMs < WATCH_EVERY_MS ? [] : [{ do: "watch" }]),
    surveyed: nothing,
    ...ANSWERS,
    heard,
    applied: nothing,
  },
  sealed: {
    round: sealedRound,
    surveyed: nothing,
    ...ANSWERS,
    heard,
    applied: nothing,
  },
  fenced: {
    round: () => [say("a later epoch has begun elsewhere: no change is taken here")],
    surveyed: nothing,
    ...ANSWERS,
    heard: nothing,
    applied: nothing,
  },
  mirror: {
    round: mirrorRound,
    surveyed: nothing,
    ...ANSWERS,
    heard: nothing,
    applied: (at) => (isSealedToSelf(at) ? [{ do: "runRoundNow" }] : []),
  },
};

export function stateOf(role: Role, cleared: boolean): State {
  return role === "primary" && !cleared ? "waiting" : role;
}

export function stepOf(state: State, at: Situation, event: EpochEvent): Step {
  return (RULES[state][event.kind] as (at: Situation, event: EpochEvent) => Step)(at, event);
}

/** The volume's first region makes it, unless another region has it already, or may have it: it does not answer. */
function surveyed(at: Situation, { others, missing, areMissingDown }: EventOf<"surveyed">): Step {
  const holder = holderIn(others);
  if (holder !== undefined) {
    const message =
      holder.epochRegion === at.region
        ? `${at.region} was the primary and has lost its state; ${holder.region} has the volume: promote ${holder.region}`
        : "another region has the volume: following it";
    return [say(message), { do: "followElsewhere" }];
  }
  const patienceMs = areMissingDown ? Math.min(at.startAloneWaitMs, DOWN_PATIENCE_MS) : at.startAloneWaitMs;
  if (missing.length === 0 || (at.startAlone === "serve" && at.startedForMs >= patienceMs)) return [{ do: "format" }];
  return [say(`the volume is not made yet: waiting for ${missing.join(", ")}, which may have it already`)];
}

/** Fences this region for a later epoch. Else a primary that starts serves once all have answered, or as `startAlone` says. */
function watched(at: Situation, event: EventOf<"watched">): Step {
  const { others, missing, next } = event;
  const epochs = [...others.values()].map(({ version }) => asVersion(version).epoch);
  for (const [i, epoch] of epochs.entries()) {
    if (i >= next && mustFence(at, epoch)) return fence(at, epoch, { ...event, next: i + 1 });
  }
  const report: Action = { do: "reportLosses", others };
  if (at.cleared) return [report];
  const isAlone = missing.length > 0;
  if (isAlone && (at.startAlone === "wait" || at.startedForMs < at.startAloneWaitMs)) {
    return [say(`waiting for ${missing.join(", ")}: a later epoch may have begun there`)];
  }
  const fields = { missing, waitedMs: at.startedForMs };
  const warning: Action = { do: "log", level: "warn", fields, text: "serving without having heard of them" };
  return [{ do: "clear" }, say(""), ...(isAlone ? [warning] : []), report];
}

/** An epoch whose ids are used up is followed by one with counters of its own. */
function reported(at: Situation): Step {
  if (at.lastCounter < COUNTER_LIMIT - COUNTER_RESERVE) return [];
  return [beginEpoch(at.version, at.regionIndex!, [])];
}

function heard(at: Situation, { epoch }: EventOf<"heard">): Step {
  return mustFence(at, epoch) ? fence(at, epoch, undefined) : [];
}

function sealedRound(at: Situation): Step {
  const to = at.regions[at.sealedTo!]!;
  return [say(`sealed to ${to}: waiting for it to begin the next epoch`), { do: "askTarget", to, seal: at.version }];
}

/** The target begins the next epoch, or declines for good: only then the epoch is taken back. */
function targetAnswered(at: Situation, { to, seal, status }: EventOf<"targetAnswered">): Step {
  if (asVersion(status?.version).epoch > seal.epoch) return [{ do: "wakeFollower" }];
  if (at.sealedForMs < at.sealPatienceMs || status === undefined) return [];
  return [{ do: "askToDecline", to, seal, status }];
}

function declined(at: Situation, { to, seal }: EventOf<"declined">): Step {
  const text = "the switchover was given up: the epoch goes on here";
  return [beginEpoch(seal, at.regionIndex!, [say(""), { do: "log", level: "warn", fields: { to }, text }])];
}

function mirrorRound(at: Situation): Step {
  const step: Action[] = [{ do: "unclear" }, say("")];
  if (!isSealedToSelf(at) || at.isSealDeclined) return step;
  const fields = { epoch: epochNumber(at.version.epoch) + 1 };
  const text = "begun the next epoch";
  return [...step, beginEpoch(at.version, at.regionIndex!, [{ do: "log", level: "info", fields, text }])];
}

function isSealedToSelf({ sealedTo, regionIndex }: Situation): boolean {
  return sealedTo !== undefined && sealedTo === regionIndex;
}

/** Whether an epoch that was heard of ends this one; not if it is fenced for that one already, or the number is absurd. */
function mustFence({ version, fence: fencedFor }: Situation, epoch: EpochCode): boolean {
  const leap = epochNumber(epoch) - epochNumber(version.epoch);
  return epoch > version.epoch && leap <= EPOCH_LEAP_MAX && epoch > fencedFor;
}

function fence(at: Situation, epoch: EpochCode, failed: EpochEvent | undefined): Step {
  const text = "a later epoch has begun elsewhere: fenced";
  return [
    { do: "log", level: "warn", fields: { epoch, own: at.version.epoch }, text },
    { do: "fence", epoch, failed },
  ];
}

/** The epoch after that of `version`, this region's own. */
function beginEpoch(version: Version, region: RegionIndex, taken: Step): Action {
  const epoch = epochCode(epochNumber(version.epoch) + 1, region);
  return { do: "propose", command: { kind: "beginEpoch", epoch, forced: false }, taken };
}

function say(message: string): Action {
  return { do: "say", message };
}

/** The region whose volume has the latest epoch of those that have one. */
function holderIn(others: Statuses): RegionStatus | undefined {
  let holder: RegionStatus | undefined;
  for (const status of others.values()) {
    if (status.role === "unformatted") continue;
    if (holder === undefined || (status.version?.epoch ?? 0) > (holder.version?.epoch ?? 0)) holder = status;
  }
  return holder;
}
