import type { Complain, Snapshot } from "./snapshot.ts";

/** Sums, epochs, regions and the hash. */
export function checkVolume(state: Snapshot, complain: Complain): void {
  const { volume, hash } = state;
  let usedBytes = 0;
  for (const attributes of state.attributes.values()) usedBytes += attributes.usedBytes;
  if (volume.usedBytes !== usedBytes) complain(`the volume says ${volume.usedBytes} bytes, its inodes ${usedBytes}`);
  if (volume.inodes !== state.attributes.size) {
    complain(`the volume says ${volume.inodes} inodes, there are ${state.attributes.size}`);
  }
  if (!state.epochs.has(volume.version.epoch)) complain(`epoch ${volume.version.epoch} has no record`);
  for (const region of volume.regions.keys())
    if (!state.regions.has(region)) complain(`region ${region} has no record`);
  if (hash.stored !== hash.computed) complain(`the state hash says ${hash.stored}, the pairs ${hash.computed}`);
  for (const { inode, changed } of state.attributes.values()) {
    if (changed > volume.version.sequence) complain(`inode ${inode} changed at ${changed}, which has not come`);
  }
}
