/**
 * The commands about the volume, its feature level, its epochs and its regions. The sequencer computes their effect on version and seal; the
 * handlers here update the records.
 */

import type { Attributes, CommandOf, Outcome } from "./commands.ts";
import { type Context, DONE, fail, type Handlers } from "./context.ts";
import { DIRECTORY_BYTES } from "./directories.ts";
import { compareVersions, NO_VERSION, type RegionIndex, ROOT_INODE } from "./ids.ts";
import { newRegions } from "./regions.ts";
import { RESERVED_DIRECTORIES } from "./reserved.ts";

export const epochHandlers: Handlers<"format" | "beginEpoch" | "seal" | "setFeatures" | "regionProgress"> = {
  format,
  beginEpoch,
  seal: () => DONE,
  setFeatures,
  regionProgress,
};

/** Creates the empty volume in its first epoch: the root, and the reserved directories. All of them are root's. */
function format(context: Context, command: CommandOf<"format">): Outcome {
  const { tree, sequence, position } = context;
  const { uuid, volume, features } = command;
  const regions = newRegions(command.regions, sequence);
  const { version, sealedTo } = position;
  const sums = { usedBytes: 0, inodes: 1 + RESERVED_DIRECTORIES.length, trashBytes: 0, lostBytes: 0 };
  const counters = { nextInode: 1, nextSlice: 1, ...sums };
  tree.putVolume({ uuid, volume, features, regions, version, sealedTo, trashHours: 0, ...counters });
  tree.putEpoch(version.epoch, { first: sequence, previous: NO_VERSION, how: "format" });
  for (const region of regions.keys()) tree.putRegionProgress(region as RegionIndex, NO_VERSION);
  const root = formatted(context, { inode: ROOT_INODE, parent: ROOT_INODE, mode: 0o755, entries: 0 });
  tree.insertAttributes(root);
  for (const { inode, parent, name } of RESERVED_DIRECTORIES) {
    const entries = RESERVED_DIRECTORIES.filter((other) => other.parent === inode).length;
    tree.insertAttributes(formatted(context, { inode, parent, mode: 0o700, entries }));
    tree.putEntry(parent, name, { inode, kind: "directory" });
  }
  return { ok: true, attributes: root };
}

/** `entries`: directories, of those that count. */
function formatted(
  { stamp, sequence }: Context,
  own: Pick<Attributes, "inode" | "parent" | "mode" | "entries">,
): Attributes {
  return {
    ...own,
    kind: "directory",
    policy: 0,
    uid: 0,
    gid: 0,
    links: 2 + own.entries,
    size: DIRECTORY_BYTES,
    usedBytes: 0,
    device: 0,
    atime: stamp.now,
    mtime: stamp.now,
    ctime: stamp.now,
    xattrs: 0,
    changed: sequence,
  };
}

/** Ids contain the epoch's code, so the counters start again at 1. */
function beginEpoch(context: Context, command: CommandOf<"beginEpoch">): Outcome {
  const { tree, sequence, previous } = context;
  tree.putVolume({ ...tree.volume!, nextInode: 1, nextSlice: 1 });
  tree.putEpoch(command.epoch, { first: sequence, previous, how: command.how });
  return DONE;
}

/** Raises the volume's feature level by one. EINVAL: any other level. */
function setFeatures({ tree }: Context, { level }: CommandOf<"setFeatures">): Outcome {
  if (level !== tree.features + 1) return fail("EINVAL");
  tree.putVolume({ ...tree.volume!, features: level });
  return DONE;
}

/** Records the version that a region reports as applied; it never decreases. ENODEV: no such region. */
function regionProgress(context: Context, command: CommandOf<"regionProgress">): Outcome {
  const reported = context.tree.regionProgress(command.region);
  if (reported === undefined) return fail("ENODEV");
  if (compareVersions(command.version, reported) > 0) context.tree.putRegionProgress(command.region, command.version);
  return DONE;
}
