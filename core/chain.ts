/** A history's chain: its epochs, from the first to the present one. */

import type { EpochRecord } from "./codec/records.ts";
import { type EpochCode, NO_VERSION, type Sequence, type Version } from "./ids.ts";
import type { Tree } from "./tree.ts";

export interface ChainLink extends EpochRecord {
  readonly epoch: EpochCode;
}

/** The epochs of a history, and its last version. */
export interface History {
  readonly chain: readonly Pick<ChainLink, "epoch" | "previous">[];
  readonly version: Version;
}

/** The chain of the history that led to this state; empty before `format`. */
export function chainOf(tree: Tree): ChainLink[] {
  const chain: ChainLink[] = [];
  for (let { epoch } = tree.version; ; ) {
    const record = tree.epoch(epoch);
    if (record === undefined) return chain.reverse();
    chain.push({ epoch, ...record });
    epoch = record.previous.epoch;
  }
}

/**
 * The last version that two histories share; NO_VERSION if they share none. An epoch begins once, so two chains are equal up
 * to the last epoch that is on both, and in that one the shorter history ends first: of two partings it is the earlier one.
 */
export function forkOf(one: History, other: History): Version {
  const ends = endsOf(other);
  for (const [epoch, sequence] of endsOf(one).reverse()) {
    const end = ends.find(([code]) => code === epoch)?.[1];
    if (end !== undefined) return { epoch, sequence: Math.min(sequence, end) as Sequence };
  }
  return NO_VERSION;
}

/** The last sequence of each epoch. */
function endsOf({ chain, version }: History): [EpochCode, Sequence][] {
  return chain.map(({ epoch }, at) => [epoch, (chain[at + 1]?.previous ?? version).sequence]);
}
