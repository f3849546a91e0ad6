/** Applies the entries of a region's log to its tree. */

import { type AppliedCommand, apply } from "./apply.ts";
import type { Entry } from "./codec/entries.ts";
import type { Version } from "./ids.ts";
import { type Position, type Refusal, sequenceEntry } from "./sequencer.ts";
import type { Tree } from "./tree.ts";

export { type Position, type Refusal, START, sequenceEntry } from "./sequencer.ts";

export type AppliedEntry =
  | ({ readonly taken: true; readonly version: Version } & AppliedCommand)
  | { readonly taken: false; readonly refusal: Refusal };

/** The position that the next entry is checked against. */
function positionOf(tree: Tree): Position {
  return { version: tree.version, sealedTo: tree.sealedTo };
}

/** Applies an entry, or refuses it: a refused entry takes no sequence and changes nothing. */
export function applyEntry(tree: Tree, entry: Entry): AppliedEntry {
  const previous = tree.version;
  const sequenced = sequenceEntry(positionOf(tree), entry);
  if (!sequenced.taken) return { taken: false, refusal: refine(tree, entry, sequenced.refusal) };
  const applied = apply(tree, entry.stamp, entry.command, { previous, position: sequenced.position });
  tree.addEffects(applied.effects);
  return { taken: true, version: sequenced.position.version, ...applied };
}

/**
 * The sequencer knows the last version only, so it calls every followed entry of an earlier epoch a fork. The table of epochs
 * tells which of them this history contains: those are duplicates.
 */
function refine(tree: Tree, { command, ...entry }: Entry, refusal: Refusal): Refusal {
  if (refusal !== "fork" || entry.type !== "followed") return refusal;
  if (command.kind === "format") return command.uuid === tree.volume?.uuid ? "duplicate" : "fork";
  const predecessor = entry.previous;
  let epoch = tree.version.epoch;
  let end = tree.epoch(epoch)?.previous;
  while (end !== undefined && end.epoch > predecessor.epoch) {
    epoch = end.epoch;
    end = tree.epoch(epoch)?.previous;
  }
  if (end?.epoch !== predecessor.epoch || predecessor.sequence > end.sequence) return "fork";
  if (predecessor.sequence < end.sequence) return "duplicate";
  return command.kind === "beginEpoch" && command.epoch === epoch ? "duplicate" : "fork";
}
