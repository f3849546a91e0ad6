import type { Report, Snapshot } from "./snapshot.ts";

/** Sums, epochs, regions and the state hash. */
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
  if (hash.stored !== hash.computed) report(`the stored state hash is ${hash.stored}, the pairs give ${hash.computed}`);
  for (const { inode, changed } of state.attributes.values()) {
    if (changed > volume.version.sequence)
      report(`inode ${inode}: changed is ${changed}, the volume is at ${volume.version.sequence}`);
  }
}
