import { type AppliedCommand, apply } from "./apply.ts";
import type { Entry } from "./codec/entries.ts";
import type { Version } from "./ids.ts";
import { type Position, type Refusal, sequenceEntry } from "./sequencer.ts";
import type { Tree } from "./tree.ts";

export { type Position, type Refusal, START, sequenceEntry } from "./sequencer.ts";

export type AppliedEntry =
  | ({ readonly taken: true; readonly version: Version } & AppliedCommand)
  | { readonly taken: false; readonly refusal: Refusal };

/** Where the tree stands: what the next entry is judged by. */
function positionOf(tree: Tree): Position {
  return { version: tree.version, sealedTo: tree.sealedTo };
}

/** Applies an entry of the log, or refuses it: then nothing has changed and no sequence is taken. */
export function applyEntry(tree: Tree, entry: Entry): AppliedEntry {
  const previous = tree.version;
  const sequenced = sequenceEntry(positionOf(tree), entry);
  if (!sequenced.taken) return { taken: false, refusal: refined(tree, entry, sequenced.refusal) };
  const applied = apply(tree, entry.stamp, entry.command, { previous, position: sequenced.position });
  tree.addEffects(applied.effects);
  return { taken: true, version: sequenced.position.version, ...applied };
}

/** An entry of an earlier epoch is a fork only when this history does not hold it: the table of epochs knows. */
function refined(tree: Tree, { command, ...entry }: Entry, refusal: Refusal): Refusal {
  if (refusal !== "fork" || entry.type !== "followed") return refusal;
  if (command.kind === "format") return command.uuid === tree.volume?.uuid ? "duplicate" : "fork";
  const wanted = entry.previous;
  let epoch = tree.version.epoch;
  let end = tree.epoch(epoch)?.previous;
  while (end !== undefined && end.epoch > wanted.epoch) {
    epoch = end.epoch;
    end = tree.epoch(epoch)?.previous;
  }
  if (end?.epoch !== wanted.epoch || wanted.sequence > end.sequence) return "fork";
  if (wanted.sequence < end.sequence) return "duplicate";
  return command.kind === "beginEpoch" && command.epoch === epoch ? "duplicate" : "fork";
}
