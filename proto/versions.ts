/** Versions as messages carry them. A message without one says that nothing has been applied yet. */
import type { History } from "../core/chain.ts";
import { compareVersions, type EpochCode, epochNumber, NO_VERSION, type Sequence, type Version } from "../core/ids.ts";
import type { WireEpoch, WireVersion } from "./generated/metadata.ts";

export function asVersion(version: WireVersion | undefined): Version {
  if (version === undefined) return NO_VERSION;
  return { epoch: version.epoch as EpochCode, sequence: version.sequence as Sequence };
}

export function asLink({ epoch, previous }: WireEpoch): History["chain"][number] {
  return { epoch: epoch as EpochCode, previous: asVersion(previous) };
}

/** The number of the epoch, as people see it; 0 before the first. */
export function epochNumberOf(version: WireVersion | undefined): number {
  return epochNumber(asVersion(version).epoch);
}

export function isNewer(a: WireVersion | undefined, b: WireVersion | undefined): boolean {
  return compareVersions(asVersion(a), asVersion(b)) > 0;
}

/** For messages to people. */
export function versionText(version: WireVersion): string {
  return `epoch ${epochNumberOf(version)} sequence ${version.sequence}`;
}
