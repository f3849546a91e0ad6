import { FIRST_INODE, idOrigin } from "../ids.ts";
import type { Report, Snapshot } from "./snapshot.ts";

/** Sums, epochs, regions, who allocated the ids, and the state hash. */
export function checkVolume(state: Snapshot, report: Report): void {
  const { volume, hash } = state;
  let usedBytes = 0;
  for (const attributes of state.attributes.values()) usedBytes += attributes.usedBytes;
  if (volume.usedBytes !== usedBytes) report(`volume: usedBytes is ${volume.usedBytes}, its inodes hold ${usedBytes}`);
  if (volume.inodes !== state.attributes.size) {
    report(`volume: inodes is ${volume.inodes}, there are ${state.attributes.size}`);
  }
  if (!state.epochs.has(volume.version.epoch)) report(`epoch ${volume.version.epoch} has no record`);
  for (const region of volume.regions.keys()) if (!state.regions.has(region)) report(`region ${region} has no record`);
  for (const inode of state.attributes.keys()) if (inode >= FIRST_INODE) checkOrigin(state, "inode", inode, report);
  for (const slice of state.slices.keys()) checkOrigin(state, "slice", slice, report);
  if (hash.stored !== hash.computed) report(`the stored state hash is ${hash.stored}, the pairs give ${hash.computed}`);
  for (const { inode, changed } of state.attributes.values()) {
    if (changed > volume.version.sequence)
      report(`inode ${inode}: changed is ${changed}, the volume is at ${volume.version.sequence}`);
  }
}

/** Every id was allocated in an epoch of this history, and none that is yet to be allocated is in use. */
function checkOrigin({ volume, epochs }: Snapshot, what: "inode" | "slice", id: number, report: Report): void {
  const { shard, epoch, counter } = idOrigin(id);
  const next = what === "inode" ? volume.nextInode : volume.nextSlice;
  if (shard !== 0 || !epochs.has(epoch))
    report(`${what} ${id}: allocated in epoch ${epoch} of shard ${shard}, which is unknown`);
  else if (epoch === volume.version.epoch && counter >= next) report(`${what} ${id} has not been allocated yet`);
}
