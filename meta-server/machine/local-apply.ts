import type { SliceId, Version } from "../../core/ids.ts";
import type { Tree } from "../../core/tree.ts";
import type { LocalEntry } from "./local-entries.ts";
import { factOf, type RegionFacts } from "./region-facts.ts";

type Kind = LocalEntry["kind"];
type EntryOf<K extends Kind> = Extract<LocalEntry, { kind: K }>;

/** What the region's own entries may change. */
export interface LocalTarget {
  readonly facts: RegionFacts;
  readonly tree: Tree;
  readonly version: Version;
  load(entry: EntryOf<"load">): void;
  flip(entry: EntryOf<"flip">): void;
}

const handlers: { readonly [K in Kind]: (target: LocalTarget, entry: EntryOf<K>) => void } = {
  resident: ({ facts }, { slices }) => facts.resident(slices),
  missing,
  collected: ({ facts }, { slices }) => facts.collected(slices),
  swept: ({ facts }, { firsts }) => facts.swept(firsts),
  fence({ facts, version }, { epoch }) {
    if (epoch > version.epoch) facts.setFence(epoch);
  },
  cleared({ facts, version }, { epoch, lives }) {
    if (epoch === version.epoch) facts.addCleared(epoch, lives);
  },
  excused: ({ facts }, { region, isGone }) => facts.setExcused(region, isGone),
  // A seal can be declined only while no epoch has begun from it.
  refuseSeal({ facts, version }, { seal }) {
    if (version.epoch <= seal.epoch) facts.refuseSeal(seal);
  },
  heard: ({ facts }, { version }) => facts.setHeard(version),
  diverged: ({ facts }, { sequence, own, primary }) => facts.setDiverged({ sequence, own, primary }),
  lossReport: ({ facts }, { epoch, report }) => facts.keepLossReport({ epoch, text: report }),
  load: (target, entry) => target.load(entry),
  flip: (target, entry) => target.flip(entry),
  sorted,
};

function missing({ facts, tree }: LocalTarget, { slices, nowMs }: EntryOf<"missing">): void {
  for (const id of slices) {
    const slice = tree.slice(id as SliceId);
    if (slice !== undefined) facts.addPending(factOf(slice), { inode: 0, nowMs });
  }
}

function sorted({ facts, tree }: LocalTarget, { generation, after, last, garbage }: EntryOf<"sorted">): void {
  if (!facts.sorting.some((one) => one.generation === generation)) return;
  for (const { record, ...one } of garbage) {
    if (tree.slice(one.slice as SliceId) === undefined)
      facts.addGarbage({ ...one, record: Buffer.from(record, "base64") });
  }
  facts.sortedUpTo(generation, last ? undefined : after);
}

export function applyLocal(target: LocalTarget, entry: LocalEntry): void {
  (handlers[entry.kind] as (target: LocalTarget, entry: LocalEntry) => void)(target, entry);
}
