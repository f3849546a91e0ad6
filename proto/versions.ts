import { type EpochCode, epochNumber, NO_VERSION, type Sequence, type Version } from "../core/ids.ts";
import type { WireVersion } from "./generated/metadata.ts";

/** A message without a version says that nothing has been applied yet. */
export function asVersion(version: WireVersion | undefined): Version {
  if (version === undefined) return NO_VERSION;
  return { epoch: version.epoch as EpochCode, sequence: version.sequence as Sequence };
}

/** For messages to people. */
export function versionText({ epoch, sequence }: WireVersion): string {
  return `epoch ${epochNumber(epoch as EpochCode)} sequence ${sequence}`;
}
