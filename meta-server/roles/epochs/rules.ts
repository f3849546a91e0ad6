/**
 * The rules of epochs as a total table: what a region's leader does in each state at each event. A rule is a pure function of
 * the situation and the event, and returns a step: the actions that the epoch keeper carries out, in order.
 */
import type { Beginning, Command } from "../../../core/commands.ts";
import {
  COUNTER_LIMIT,
  compareVersions,
  type EpochCode,
  epochCode,
  epochNumber,
  epochRegion,
  type RegionIndex,
  type Version,
} from "../../../core/ids.ts";
import type { ConfirmAnswer } from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { Machine } from "../../machine/machine.ts";
import type { Answers, Confirmed } from "../follower/regions.ts";

const ASK_EVERY_MS = 2_000;
/** A hint makes this region ask, however many come, at most this often. */
const HINT_EVERY_MS = 1_000;
/** The next epoch, with counters of its own, is begun when only this many ids are left. */
const COUNTER_RESERVE = 2 ** 20;

/** The machine's state, or `waiting`: a primary that is not cleared. */
export type State = Machine["state"] | "waiting";

/** What the rules read besides the event. */
export interface Situation {
  readonly region: string;
  /** The region that formats the volume, by the volume file. */
  readonly firstRegion: string;
  readonly startAlone: "serve" | "wait";
  readonly startAloneWaitMs: number;
  /** How long this leader has waited for the other regions (see `waits`). */
  readonly waitedMs: number;
  /** Since the other regions were last asked. */
  readonly askedForMs: number;
  /** Since this leader first saw its epoch sealed; 0 if it is not. */
  readonly sealedForMs: number;
  /** How long a sealed epoch waits for its target to take over before it may be taken back. */
  readonly sealPatienceMs: number;
  /** Whether this server may act in its epoch: its life is named in a committed `cleared` entry, and nothing later is known. */
  readonly isCleared: boolean;
  /** Whether a member is connected whose life no `cleared` entry of this epoch names. */
  readonly hasNewLife: boolean;
  /** Whether another member is connected that may act in this epoch. */
  readonly hasClearedPeer: boolean;
  /** The latest epoch that another region has confirmed; 0: none. */
  readonly laterEpoch: number;
  readonly version: Version;
  readonly regionIndex: RegionIndex | undefined;
  readonly regions: readonly string[];
  readonly sealedTo: RegionIndex | undefined;
  /** Whether this region has declined to begin an epoch from the seal at `version`. */
  readonly isSealDeclined: boolean;
  /** The regions that an operator has declared gone. */
  readonly excused: readonly string[];
  /** What the primary says it has committed, on the stream on which this region follows it now; undefined without one. */
  readonly sourceCommitted: Version | undefined;
  /** The latest epoch because of which this region was fenced; 0: none. */
  readonly fence: number;
  /** Whether every region has answered, and none has begun the epoch that fenced this one or a later one. */
  readonly isFenceAbandoned: boolean;
  /** The higher of the two id counters of the epoch. */
  readonly lastCounter: number;
}

/** What held when a round of questions began. */
export interface Asked {
  readonly epoch: number;
  readonly excused: readonly string[];
}

export type EpochEvent =
  /** Every 100 ms, and every 25 ms while the epoch is sealed. */
  | { readonly kind: "round" }
  /** The other regions were asked, by `ask`. */
  | { readonly kind: "answered"; readonly asked: Asked; readonly answers: Answers }
  /** The loss report of a forced epoch is committed, or none is due. */
  | { readonly kind: "reported" }
  /** The region that the epoch is sealed to has answered. */
  | { readonly kind: "targetAnswered"; readonly to: string; readonly seal: Version; readonly target: Confirmed }
  /** That region has committed that it will not begin an epoch from this seal. */
  | { readonly kind: "declined"; readonly to: string; readonly seal: Version }
  /** A client or another region speaks of a later epoch. */
  | { readonly kind: "hinted" }
  /** The machine applied a turn, at any member. */
  | { readonly kind: "applied" };

export type Action =
  /** Sets the message that the region's status shows. */
  | { readonly do: "say"; readonly message: string }
  | { readonly do: "log"; readonly level: "info" | "warn"; readonly fields: object; readonly text: string }
  /** Asks the leaders of all other regions; raises `answered`. */
  | { readonly do: "ask" }
  /** Commits that this server's life and those that it hears may act in the epoch. */
  | { readonly do: "clear" }
  /** Commits that this region, which was declared gone, is waited for again. */
  | { readonly do: "countAgain"; readonly region: string }
  /** Hands leadership over to another member. */
  | { readonly do: "transferLeadership" }
  /** From here on this server may not act in its epoch: a later one is confirmed. */
  | { readonly do: "unclear"; readonly laterEpoch: EpochCode }
  | { readonly do: "noteFence"; readonly isAbandoned: boolean }
  /** Commits the fence. */
  | { readonly do: "fence"; readonly epoch: EpochCode }
  | { readonly do: "runRoundNow" }
  /** Raises `targetAnswered`. */
  | { readonly do: "askTarget"; readonly to: string; readonly seal: Version }
  /** Asks the target to decline for good; raises `declined` if it does. */
  | { readonly do: "askToDecline"; readonly to: string; readonly seal: Version; readonly address: string }
  /** Raises `reported`. */
  | { readonly do: "reportLosses"; readonly reachable: ReadonlyMap<string, unknown> }
  /** `taken`: the step that follows if the command is taken. */
  | { readonly do: "propose"; readonly command: Command; readonly taken: Step }
  | { readonly do: "format" }
  /** Another region holds the volume: the follower looks for its primary. */
  | { readonly do: "followElsewhere" }
  | { readonly do: "wakeFollower" };

/** Carried out in order; each action starts after the one before it has ended. */
export type Step = readonly Action[];

type EventOf<K extends EpochEvent["kind"]> = Extract<EpochEvent, { kind: K }>;
type Rule<K extends EpochEvent["kind"]> = (at: Situation, event: EventOf<K>) => Step;
type Rules = { readonly [S in State]: { readonly [K in EpochEvent["kind"]]: Rule<K> } };

const nothing = (): Step => [];
const hinted = (at: Situation): Step => (at.askedForMs < HINT_EVERY_MS ? [] : [{ do: "ask" }]);
/** Only a region that is sealed waits for its target. */
const UNSEALED = { targetAnswered: nothing, declined: nothing };

export const RULES: Rules = {
  unformatted: {
    round: (at) => (at.firstRegion === at.region ? [{ do: "ask" }] : []),
    answered: surveyed,
    reported: nothing,
    ...UNSEALED,
    hinted: nothing,
    applied: nothing,
  },
  waiting: {
    round: (at) => (isOver(at) ? endedStep(at) : [{ do: "ask" }]),
    answered,
    reported,
    ...UNSEALED,
    hinted,
    applied: nothing,
  },
  primary: {
    round: (at) => [
      ...(at.hasNewLife ? [{ do: "clear" } as const] : []),
      ...(at.askedForMs < ASK_EVERY_MS ? [] : [{ do: "ask" } as const]),
    ],
    answered,
    reported,
    ...UNSEALED,
    hinted,
    applied: nothing,
  },
  sealed: {
    round: sealedRound,
    answered,
    reported,
    targetAnswered,
    declined,
    hinted,
    applied: nothing,
  },
  fenced: {
    round: (at) => [say(fencedMessage(at)), ...(at.askedForMs < ASK_EVERY_MS ? [] : [{ do: "ask" } as const])],
    answered: (at, event) => [...fenceAnswered(at, event), ...returned(at, event)],
    reported: nothing,
    ...UNSEALED,
    hinted,
    applied: nothing,
  },
  mirror: {
    round: mirrorRound,
    answered: (at, event) => [...targetCleared(at, event), ...returned(at, event)],
    reported: nothing,
    ...UNSEALED,
    hinted: nothing,
    applied: (at) => (isSealedToSelf(at) ? [{ do: "runRoundNow" }] : []),
  },
  diverged: {
    round: () => [say("")],
    answered: nothing,
    reported: nothing,
    ...UNSEALED,
    hinted: nothing,
    applied: nothing,
  },
};

export function stateOf(state: Machine["state"], isCleared: boolean): State {
  return state === "primary" && !isCleared ? "waiting" : state;
}

/** Whether the region can do nothing but wait for the other regions. */
export function waits(state: State, at: Situation): boolean {
  if (state === "sealed") return !at.isCleared;
  return state === "waiting" || state === "unformatted" || (state === "mirror" && isSealedToSelf(at));
}

export function stepOf(state: State, at: Situation, event: EpochEvent): Step {
  return (RULES[state][event.kind] as (at: Situation, event: EpochEvent) => Step)(at, event);
}

/**
 * The volume's first region formats it once every other region has confirmed that it holds none. A region that does not answer
 * may hold it: a primary group that has lost everything must not format a second volume, however long it waits.
 */
function surveyed(at: Situation, { answers }: EventOf<"answered">): Step {
  const { confirmed, missing } = answers;
  const holder = holderIn(confirmed);
  if (holder !== undefined) {
    const message =
      missing.size === 0 && ![...confirmed.values()].some(isOrWasPrimary)
        ? `${at.region} was the primary and has lost its state, and ${holder.region} still holds the volume: run 'mirrorfs promote --region ${holder.region} --force'`
        : "another region holds the volume: looking for its primary, to follow it";
    return [say(message), { do: "followElsewhere" }];
  }
  if (missing.size === 0) return [{ do: "format" }];
  const without = [...missing.keys()].map((region) => ` --without ${region}`).join("");
  return [
    say(
      `not formatted: ${waitingFor(missing, at)}, which may hold the volume already: ${START_THEM}, or, if it never held it, run 'mirrorfs format${without}'`,
    ),
  ];
}

/**
 * A later epoch ends this one. Otherwise a primary that is not cleared, whose epoch may be sealed, is cleared once all regions
 * have answered, or as `startAlone` says. Until then a member that is cleared may lead.
 */
function answered(at: Situation, event: EventOf<"answered">): Step {
  const { confirmed } = event.answers;
  const missing = awaited(event);
  const later = latestIn(confirmed);
  if (later > at.version.epoch) return isHandedOver(at, later) ? [{ do: "wakeFollower" }] : ended(at, later);
  if (isOver(at)) return endedStep(at);
  const back = returned(at, event);
  const report: Action = { do: "reportLosses", reachable: confirmed };
  if (at.isCleared) return [say(""), ...back, report];
  if (!isOfThisEpoch(at, event)) return [];
  if (!isComplete(event) && !hasWaitedAlone(at)) {
    const message = `changes are refused: ${waitingFor(missing, at)}, where a later epoch may have begun; ${orElse(missing)}`;
    return [say(message), ...back, ...(at.hasClearedPeer ? [{ do: "transferLeadership" } as const] : [])];
  }
  return [{ do: "clear" }, say(""), ...aloneWarning(at, event), ...back, report];
}

/** Begins the next epoch, with counters of its own, before the ids of this one are used up. */
function reported(at: Situation): Step {
  if (!at.isCleared || at.lastCounter < COUNTER_LIMIT - COUNTER_RESERVE) return [];
  return [beginEpoch(at, at.version, { how: "counters" }, [])];
}

function sealedRound(at: Situation): Step {
  if (isOver(at)) return endedStep(at);
  if (!at.isCleared) return [{ do: "ask" }];
  const to = at.regions[at.sealedTo!]!;
  return [
    say(`switchover to ${to}: changes wait for it to take over (${seconds(at.sealedForMs)} so far)`),
    { do: "askTarget", to, seal: at.version },
  ];
}

/** The epoch is taken back only after the target has declined for good: it could otherwise still begin the next one. */
function targetAnswered(at: Situation, { to, seal, target }: EventOf<"targetAnswered">): Step {
  const epoch = epochIn(target.answer);
  if (epoch > at.version.epoch) return isHandedOver(at, epoch) ? [{ do: "wakeFollower" }] : ended(at, epoch);
  if (!at.isCleared || at.sealedForMs < at.sealPatienceMs) return [];
  return [{ do: "askToDecline", to, seal, address: target.address }];
}

/** Without clearance the next round asks the other regions first, and then the target again. */
function declined(at: Situation, { to, seal }: EventOf<"declined">): Step {
  if (!at.isCleared) return [];
  const text = "the switchover was aborted: its target declined, and this region remains the primary";
  const taken: Step = [{ do: "clear" }, say(""), { do: "log", level: "warn", fields: { to }, text }];
  return [beginEpoch(at, seal, { how: "resumed", declined: seal }, taken)];
}

/** A later epoch raises the fence. One that has begun nowhere is abandoned: its promotion broke off after it had ended this one. */
function fenceAnswered(at: Situation, { answers: { confirmed, missing } }: EventOf<"answered">): Step {
  const later = latestIn(confirmed);
  const hasBegun = [...confirmed.values()].some(
    ({ version, state }) => asVersion(version).epoch >= at.fence || ["primary", "waiting", "sealed"].includes(state),
  );
  const note: Action = { do: "noteFence", isAbandoned: missing.size === 0 && !hasBegun };
  return later > at.fence ? [...ended(at, later), note] : [note];
}

function fencedMessage({ region, regions, fence, isFenceAbandoned }: Situation): string {
  if (!isFenceAbandoned)
    return "fenced: a later epoch has begun in another region, so changes are refused here; 'mirrorfs status' shows the primary";
  const promoted = regions[epochRegion(fence as EpochCode)]!;
  return `fenced for epoch ${epochNumber(fence as EpochCode)} of ${promoted}, which no region has begun: run 'mirrorfs promote --region ${promoted} --force' again, or continue here by 'mirrorfs promote --region ${region} --force'`;
}

/**
 * The epoch that is sealed to this region is over only on the live word of the primary that the seal is the last it has
 * committed. With more behind it the seal is history. Without a primary to follow, all regions are asked.
 */
function mirrorRound(at: Situation): Step {
  const looksForExcused = at.excused.length > 0 && at.askedForMs >= ASK_EVERY_MS;
  if (!mayBegin(at)) return [say(""), ...(looksForExcused ? [{ do: "ask" } as const] : [])];
  if (at.sourceCommitted === undefined) return [{ do: "ask" }];
  return compareVersions(at.sourceCommitted, at.version) === 0 ? [say(""), takeOver(at)] : [say("")];
}

function targetCleared(at: Situation, event: EventOf<"answered">): Step {
  const { confirmed } = event.answers;
  const missing = awaited(event);
  if (!mayBegin(at) || at.sourceCommitted !== undefined || !isOfThisEpoch(at, event)) return [];
  if (latestIn(confirmed) > at.version.epoch) return [say("")];
  if (isComplete(event) || hasWaitedAlone(at)) return [say(""), ...aloneWarning(at, event), takeOver(at)];
  return [
    say(
      `the epoch is sealed to ${at.region}, which takes over once every region has answered: ${waitingFor(missing, at)}; ${orElse(missing)}`,
    ),
  ];
}

function takeOver(at: Situation): Action {
  const fields = { epoch: epochNumber(at.version.epoch) + 1 };
  const text = "took over as the primary, in the next epoch";
  const taken: Step = [{ do: "clear" }, { do: "log", level: "info", fields, text }];
  return beginEpoch(at, at.version, { how: "sealed" }, taken);
}

function mayBegin(at: Situation): boolean {
  return isSealedToSelf(at) && !at.isSealDeclined;
}

function isSealedToSelf({ sealedTo, regionIndex }: Situation): boolean {
  return sealedTo !== undefined && sealedTo === regionIndex;
}

/** Whether the epoch is the one that this region's seal has handed over: it needs no fence, as nothing can follow the seal. */
function isHandedOver({ version, sealedTo }: Situation, epoch: EpochCode): boolean {
  return epochRegion(epoch) === sealedTo && epochNumber(epoch) === epochNumber(version.epoch) + 1;
}

/** Whether a later epoch is confirmed, and the fence not committed yet. */
function isOver(at: Situation): boolean {
  return at.laterEpoch > at.version.epoch && at.laterEpoch > at.fence;
}

function ended(at: Situation, epoch: EpochCode): Step {
  const text = "a later epoch has begun in another region: this one is fenced";
  return [
    { do: "unclear", laterEpoch: epoch },
    { do: "log", level: "warn", fields: { epoch, own: at.version.epoch }, text },
    { do: "fence", epoch },
  ];
}

/** The fence is proposed until it is committed. Nothing else is done before that. */
function endedStep({ laterEpoch }: Situation): Step {
  return [{ do: "fence", epoch: laterEpoch as EpochCode }];
}

function isOfThisEpoch({ version }: Situation, { asked }: EventOf<"answered">): boolean {
  return asked.epoch === version.epoch;
}

/**
 * The regions that did not answer and are waited for. An excuse counts in the rounds that begin after it: the regions that were
 * asked before it may have heard of more since.
 */
function awaited({ answers, asked }: EventOf<"answered">): Answers["missing"] {
  return new Map([...answers.missing].filter(([region]) => !asked.excused.includes(region)));
}

/** Whether every region that counts has answered. */
function isComplete(event: EventOf<"answered">): boolean {
  return awaited(event).size === 0;
}

/** A region that was declared gone counts again once it answers. */
function returned({ excused }: Situation, { answers }: EventOf<"answered">): Step {
  const back = excused.filter((region) => answers.confirmed.has(region));
  return back.map((region) => ({ do: "countAgain", region }));
}

function hasWaitedAlone({ startAlone, startAloneWaitMs, waitedMs }: Situation): boolean {
  return startAlone === "serve" && waitedMs >= startAloneWaitMs;
}

function aloneWarning(at: Situation, { answers }: EventOf<"answered">): Step {
  if (answers.missing.size === 0) return [];
  const fields = { missing: [...answers.missing.keys()], waitedMs: at.waitedMs };
  return [{ do: "log", level: "warn", fields, text: "serving without an answer from these regions" }];
}

/** Begins the epoch after that of `version`, with this region as its primary. */
function beginEpoch({ regionIndex }: Situation, version: Version, beginning: Beginning, taken: Step): Action {
  const epoch = epochCode(epochNumber(version.epoch) + 1, regionIndex!);
  return { do: "propose", command: { kind: "beginEpoch", epoch, ...beginning }, taken };
}

function orElse(missing: Answers["missing"]): string {
  const orders = [...missing.keys()].map((region) => `'mirrorfs region lost ${region}'`);
  return `${START_THEM}, or, if it is gone for good, run ${orders.join(" and ")}`;
}

const START_THEM = "start the metadata servers there (mirrorfs meta)";

function waitingFor(missing: Answers["missing"], { waitedMs }: Situation): string {
  const names = [...missing].map(([region, against]) => (against === "" ? region : `${region}, where ${against}`));
  return `waiting for ${names.join("; ")} (${seconds(waitedMs)} so far)`;
}

function seconds(ms: number): string {
  return `${Math.floor(ms / 1000)} s`;
}

function say(message: string): Action {
  return { do: "say", message };
}

/** The latest epoch that a region has begun or applied, or because of which it is fenced. */
function epochIn({ version, fence }: ConfirmAnswer): EpochCode {
  return Math.max(asVersion(version).epoch, fence) as EpochCode;
}

function latestIn(confirmed: Answers["confirmed"]): EpochCode {
  return Math.max(0, ...[...confirmed.values()].map(epochIn)) as EpochCode;
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
