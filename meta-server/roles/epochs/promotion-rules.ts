/**
 * When a region may be promoted by force, which other regions have to be ended first, and in which epoch. Pure functions of
 * what this region knows and of what the others have answered.
 */
import {
  compareVersions,
  type EpochCode,
  epochCode,
  epochNumber,
  type RegionIndex,
  type Version,
} from "../../../core/ids.ts";
import { forcedNumberAbove } from "../../../core/sequencer.ts";
import type { ConfirmAnswer, MemberVersion } from "../../../proto/generated/admin.ts";
import { asVersion, versionText } from "../../../proto/versions.ts";

/** How long a primary that asked for clearance, and is out of reach now, may be about to serve. */
const CLEARANCE_MS = 10_000;

/** The region that is to be promoted, and what the others have answered. */
export interface Candidate {
  readonly region: string;
  readonly regionIndex: RegionIndex;
  /** The region that began the epoch of `version`. */
  readonly primary: string;
  readonly version: Version;
  readonly fence: number;
  readonly heard: Version;
  readonly confirmed: ReadonlyMap<string, ConfirmAnswer>;
  /** What each member of the other regions has applied, by its own word. */
  readonly applied: readonly MemberVersion[];
  /** Since the primary asked this region for clearance; Infinity: it has not. */
  readonly clearanceAskedMs: number;
}

export interface Overrides {
  /** End regions that are, or are about to be, the primary; continue although the primary may be about to serve. */
  readonly evenIfAlive: boolean;
  /** Regions whose further changes are given up. */
  readonly discard: readonly string[];
}

type Alive = "serves" | "sealed" | "takesOver" | "waits";

/** How a region is the primary, or about to be; undefined if it is not. */
function aliveAs({ region, state, sealedTo, fence, version }: ConfirmAnswer): Alive | undefined {
  if (state === "primary") return "serves";
  if (state === "waiting") return "waits";
  if (state === "sealed") return "sealed";
  const mayBegin = state === "mirror" && sealedTo === region && fence <= asVersion(version).epoch;
  return mayBegin ? "takesOver" : undefined;
}

/** A primary that waits for clearance acknowledges nothing, so nothing speaks against ending it. */
const ALIVE: { readonly [A in Alive]: ((region: string, candidate: string) => string) | undefined } = {
  serves: (region, candidate) =>
    `the primary ${region} is alive: use 'mirrorfs switchover --to ${candidate}', which loses nothing; --even-if-alive ends it first, and loses what is not mirrored`,
  sealed: (region) =>
    `${region} has sealed its epoch for a switchover, and continues by itself if that fails: wait until 'mirrorfs status' shows a primary; --even-if-alive ends it first, and loses what is not mirrored`,
  takesOver: (region) =>
    `${region} is about to become the primary by a switchover: wait until 'mirrorfs status' shows it; --even-if-alive ends that first`,
  waits: undefined,
};

/** @returns why the region is not promoted, and which option overrides that; undefined if nothing speaks against it */
export function refusalOf(at: Candidate, overrides: Overrides): string | undefined {
  const answers = [...at.confirmed.values()];
  const alive = new Map(answers.map((answer) => [answer.region, aliveAs(answer)]));
  if (!overrides.evenIfAlive) {
    for (const [region, as] of alive) {
      const refusal = as && ALIVE[as]?.(region, at.region);
      if (refusal !== undefined) return refusal;
    }
    if (!at.confirmed.has(at.primary) && at.clearanceAskedMs < CLEARANCE_MS) return mayServe(at);
  }
  // What a living region has more than this one is what --even-if-alive gives up.
  const isGivenUp = (region: string) => {
    const as = alive.get(region);
    return overrides.discard.includes(region) || (as !== undefined && as !== "waits");
  };
  const more = [...answers, ...at.applied].find(
    ({ region, version }) => compareVersions(asVersion(version), at.version) > 0 && !isGivenUp(region),
  );
  return more && hasMore(at, more.region, asVersion(more.version));
}

function mayServe({ primary, clearanceAskedMs }: Candidate): string {
  const leftMs = CLEARANCE_MS - clearanceAskedMs;
  return `the primary ${primary} asked ${Math.floor(clearanceAskedMs / 1000)} s ago whether it may serve, and is out of reach now, so it may be about to serve: try again in ${Math.ceil(leftMs / 1000)} s; --even-if-alive does not wait`;
}

function hasMore({ version }: Candidate, region: string, theirs: Version): string {
  return `${region} has applied more (${versionText(theirs)}, here ${versionText(version)}): use 'mirrorfs promote --region ${region} --force', or give up what only ${region} has with --discard ${region}`;
}

/** The regions whose epoch has to be ended before the new one begins. */
export function regionsToEnd({ confirmed }: Candidate): string[] {
  return [...confirmed.values()].filter((answer) => aliveAs(answer) !== undefined).map(({ region }) => region);
}

/** An epoch that is later than all that any region has begun, was fenced for, or has heard of. */
export function epochOf({ version, fence, heard, confirmed, applied, regionIndex }: Candidate): EpochCode {
  const answers = [...confirmed.values()];
  const known = [
    version.epoch,
    fence,
    heard.epoch,
    ...answers.flatMap((answer) => [asVersion(answer.version).epoch, answer.fence]),
    ...applied.map((member) => asVersion(member.version).epoch),
  ];
  return epochCode(forcedNumberAbove(epochNumber(Math.max(...known) as EpochCode)), regionIndex);
}
