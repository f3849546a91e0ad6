/** Decides which entries of a log are part of the changelog, and numbers them. */

import type { Entry } from "./codec/entries.ts";
import type { Command, CommandOf } from "./commands.ts";
import {
  compareVersions,
  epochCode,
  epochNumber,
  epochRegion,
  NO_VERSION,
  type RegionIndex,
  type Sequence,
  type Version,
} from "./ids.ts";

/** A position in the changelog: everything that decides whether an entry takes the next sequence. */
export interface Position {
  readonly version: Version;
  /** The region that the epoch was sealed to. Only `beginEpoch` can follow a seal. */
  readonly sealedTo: RegionIndex | undefined;
}

/** Before `format`. */
export const START: Position = { version: NO_VERSION, sealedTo: undefined };

/**
 * Why an entry took no sequence and changed nothing.
 * - `notFormatted`, `formatted`: `format` must be the first command, and the only one of its kind
 * - `sealed`: the epoch is sealed; `notSealed`: begins an epoch that only a seal to its region, or by it, would allow
 * - `notDeclined`: takes back a seal without the refusal of the region that it was made for
 * - `wrongEpoch`: stamped in an epoch that is not the current one, or begins one that may not come next
 * - of followed entries: `gap`: entries before it are missing; `duplicate`: applied already; `fork`: of another history
 */
export type Refusal =
  | "notFormatted"
  | "formatted"
  | "sealed"
  | "notSealed"
  | "notDeclined"
  | "wrongEpoch"
  | "gap"
  | "duplicate"
  | "fork";

export type Sequenced =
  | { readonly taken: true; readonly position: Position }
  | { readonly taken: false; readonly refusal: Refusal };

/**
 * Whether an entry takes the next sequence, and the position after it. Depends on nothing but the entry and the position
 * before it, so that every region counts alike. A followed entry of an earlier epoch is always refused as a `fork` here;
 * applyEntry finds out which of them are duplicates.
 */
export function sequenceEntry(at: Position, entry: Entry): Sequenced {
  const refusal = (entry.type === "followed" && followedRefusal(at.version, entry.previous)) || refusalOf(at, entry);
  return refusal ? { taken: false, refusal } : { taken: true, position: next(at, entry) };
}

function followedRefusal(at: Version, previous: Version): Refusal | undefined {
  if (previous.epoch !== at.epoch) return previous.epoch > at.epoch ? "gap" : "fork";
  if (previous.sequence === at.sequence) return undefined;
  return previous.sequence > at.sequence ? "gap" : "duplicate";
}

function refusalOf(at: Position, { command, stamp }: Entry): Refusal | undefined {
  if (stamp.epoch !== at.version.epoch) return "wrongEpoch";
  if (at.version.sequence === 0) return command.kind === "format" ? undefined : "notFormatted";
  if (command.kind === "format") return "formatted";
  if (command.kind === "beginEpoch") return beginRefusal(at, command);
  return at.sealedTo === undefined ? undefined : "sealed";
}

/** Whether the epoch may begin at this position, for the reason that it gives. */
function beginRefusal(at: Position, command: CommandOf<"beginEpoch">): Refusal | undefined {
  const { version, sealedTo } = at;
  const number = epochNumber(command.epoch);
  const ahead = number - epochNumber(version.epoch);
  if (command.how === "forced") return isForcedNumber(number) && ahead >= 2 ? undefined : "wrongEpoch";
  if (ahead !== 1) return "wrongEpoch";
  const region = epochRegion(command.epoch);
  if (command.how === "sealed") return sealedTo === region ? undefined : "notSealed";
  if (region !== epochRegion(version.epoch)) return "notSealed";
  if (command.how !== "resumed") return sealedTo === undefined ? undefined : "sealed";
  if (sealedTo === undefined) return "notSealed";
  return compareVersions(command.declined, version) === 0 ? undefined : "notDeclined";
}

/**
 * Epochs that begin by force have numbers of their own, multiples of this, and leave at least one number out. So they are
 * later than every other epoch that may have begun without this region's knowledge: the target of a seal began the next
 * number, a renewal of counters the one after it. When the two meet, the promotion is the one that continues.
 */
const FORCED_EVERY = 16;

function isForcedNumber(number: number): boolean {
  return number % FORCED_EVERY === 0;
}

/** The lowest number of an epoch that begins by force above the epoch with this number. */
export function forcedNumberAbove(number: number): number {
  return Math.ceil((number + 2) / FORCED_EVERY) * FORCED_EVERY;
}

function next(at: Position, { command }: Entry): Position {
  const version = versionAfter(at.version, command);
  if (command.kind === "seal") return { version, sealedTo: command.to };
  return { version, sealedTo: version.epoch === at.version.epoch ? at.sealedTo : undefined };
}

/** The version after a command that takes the next sequence. */
export function versionAfter(at: Version, command: Command): Version {
  const sequence = (at.sequence + 1) as Sequence;
  if (command.kind === "format") return { epoch: epochCode(1, command.primary), sequence };
  return { epoch: command.kind === "beginEpoch" ? command.epoch : at.epoch, sequence };
}
