/**
 * The commands about the volume, its epochs and its regions. The sequencer computes their effect on version and seal; the
 * handlers here update the records.
 */

import type { CommandOf, Outcome } from "./commands.ts";
import { type Context, DONE, fail, type Handlers } from "./context.ts";
import { DIRECTORY_BYTES } from "./directories.ts";
import { NO_VERSION, type RegionIndex, ROOT_INODE } from "./ids.ts";

export const epochHandlers: Handlers<"format" | "beginEpoch" | "seal" | "regionProgress"> = {
  format,
  beginEpoch,
  seal: () => DONE,
  regionProgress,
};

/** Creates the empty volume in its first epoch: one directory, owned by root. */
function format(context: Context, command: CommandOf<"format">): Outcome {
  const { tree, stamp, sequence, position } = context;
  const { uuid, volume, regions } = command;
  const counters = { nextInode: 1, nextSlice: 1, usedBytes: 0, inodes: 1 };
  tree.putVolume({ uuid, volume, regions, version: position.version, sealedTo: position.sealedTo, ...counters });
  tree.putEpoch(position.version.epoch, { first: sequence, previous: NO_VERSION, how: "format" });
  for (let region = 0; region < regions.length; region++)
    tree.putRegionProgress(region as RegionIndex, NO_VERSION.sequence);
  const attributes = {
    kind: "directory",
    inode: ROOT_INODE,
    mode: 0o755,
    uid: 0,
    gid: 0,
    links: 2,
    size: DIRECTORY_BYTES,
    usedBytes: 0,
    device: 0,
    atime: stamp.now,
    mtime: stamp.now,
    ctime: stamp.now,
    entries: 0,
    xattrs: 0,
    parent: ROOT_INODE,
    changed: sequence,
  } as const;
  tree.insertAttributes(attributes);
  return { ok: true, attributes };
}

/** Ids contain the epoch's code, so the counters start again at 1. */
function beginEpoch(context: Context, command: CommandOf<"beginEpoch">): Outcome {
  const { tree, sequence, previous } = context;
  tree.putVolume({ ...tree.volume!, nextInode: 1, nextSlice: 1 });
  tree.putEpoch(command.epoch, { first: sequence, previous, how: command.how });
  return DONE;
}

/** Records the sequence that a region reports as applied; it never decreases. ENODEV: no such region. */
function regionProgress(context: Context, command: CommandOf<"regionProgress">): Outcome {
  const reported = context.tree.regionProgress(command.region);
  if (reported === undefined) return fail("ENODEV");
  if (command.sequence > reported) context.tree.putRegionProgress(command.region, command.sequence);
  return DONE;
}
