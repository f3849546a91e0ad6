/** Decides which entries of a log are part of the changelog, and numbers them. */

import type { Entry } from "./codec/entries.ts";
import type { CommandOf } from "./commands.ts";
import {
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
 * - `sealed`: the epoch is sealed; `notSealed`: another region may begin an epoch only after a seal to it, or by force
 * - `wrongEpoch`: stamped in an epoch that is not the current one, or begins one that is not newer
 * - of followed entries: `gap`: entries before it are missing; `duplicate`: applied already; `fork`: of another history
 */
export type Refusal =
  | "notFormatted"
  | "formatted"
  | "sealed"
  | "notSealed"
  | "wrongEpoch"
  | "gap"
  | "duplicate"
  | "fork";

export type Sequenced =
  | { readonly taken: true; readonly position: Position }
  | { readonly taken: false; readonly refusal: Refusal };

/**
 * Whether an entry takes the next sequence, and the position after it. Depends on nothing but the entry and the position
 * before it, so that a reader of the log counts as apply does. A followed entry of an earlier epoch is always refused as a
 * `fork` here; applyEntry finds out which of them are duplicates.
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

function beginRefusal(at: Position, { epoch, forced }: CommandOf<"beginEpoch">): Refusal | undefined {
  if (epochNumber(epoch) <= epochNumber(at.version.epoch)) return "wrongEpoch";
  const stays = epochRegion(epoch) === epochRegion(at.version.epoch);
  return forced || stays || at.sealedTo === epochRegion(epoch) ? undefined : "notSealed";
}

function next(at: Position, { command }: Entry): Position {
  const sequence = (at.version.sequence + 1) as Sequence;
  switch (command.kind) {
    case "format":
      return { version: { epoch: epochCode(1, command.primary), sequence }, sealedTo: undefined };
    case "beginEpoch":
      return { version: { epoch: command.epoch, sequence }, sealedTo: undefined };
    case "seal":
      return { version: { epoch: at.version.epoch, sequence }, sealedTo: command.to };
    default:
      return { version: { epoch: at.version.epoch, sequence }, sealedTo: at.sealedTo };
  }
}
