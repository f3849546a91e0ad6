import { type EpochCode, epochNumber, type Sequence, type Version } from "../core/ids.ts";
import type { WireVersion } from "./generated/metadata.ts";

export function asVersion({ epoch, sequence }: WireVersion): Version {
  return { epoch: epoch as EpochCode, sequence: sequence as Sequence };
}

/** For messages to people. */
export function versionText({ epoch, sequence }: WireVersion): string {
  return `epoch ${epochNumber(epoch as EpochCode)} sequence ${sequence}`;
}
