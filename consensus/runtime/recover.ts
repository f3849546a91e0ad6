import type { StateMachine } from "../group.ts";
import type { LogStore } from "../log-store.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { RaftStart } from "../raft/raft.ts";
import { StorageError } from "../storage-error.ts";
import type { GroupTuning } from "./tuning.ts";

/**
 * Brings log and machine into agreement at a start: completes or abandons an interrupted installation of a snapshot, and
 * replays the entries known to be committed. `first`: the configuration if the disk holds none.
 * @throws StorageError when log and machine do not belong together, or the log is damaged
 */
export async function recover(
  log: LogStore,
  machine: StateMachine,
  first: Configuration,
  tuning: GroupTuning,
): Promise<RaftStart> {
  const { hardState, restoring } = log.stored;
  let { base, lastIndex, termStarts, configurations } = log.stored;
  if (configurations.length === 0) {
    await log.begin(first);
    configurations = [first];
  }
  if (restoring !== undefined && machine.appliedIndex === restoring.index) {
    await log.reset(restoring); // the machine was replaced, the log was not
    base = { index: restoring.index, term: restoring.term };
    lastIndex = restoring.index;
    termStarts = [];
    if (restoring.configuration !== undefined) configurations = [restoring.configuration];
  } else if (restoring !== undefined) {
    await log.markRestoring(undefined);
  }
  if (machine.appliedIndex < base.index || machine.appliedIndex > lastIndex)
    throw new StorageError("log and state do not belong together", describe(machine, base.index, lastIndex));
  const commit = Math.max(hardState.commit, base.index, machine.appliedIndex);
  await replay(log, machine, Math.min(commit, lastIndex), tuning);
  const tail = await readAll(log, machine.appliedIndex + 1, lastIndex);
  return {
    hardState,
    log: {
      base,
      lastIndex,
      termStarts,
      commit: machine.appliedIndex,
      applied: machine.appliedIndex,
      tail,
      configurations,
    },
    tailBytesMax: tuning.tailBytesMax,
  };
}

async function replay(log: LogStore, machine: StateMachine, through: number, tuning: GroupTuning): Promise<void> {
  while (machine.appliedIndex < through) {
    const entries = await log.read(machine.appliedIndex + 1, through, tuning.applyBytesMax);
    if (entries.length === 0) throw new StorageError("the log is damaged", `no entry ${machine.appliedIndex + 1}`);
    machine.apply(entries);
    await machine.ready();
  }
}

async function readAll(log: LogStore, from: number, through: number) {
  if (from > through) return [];
  const entries = await log.read(from, through, Number.POSITIVE_INFINITY);
  if (entries.length !== through - from + 1)
    throw new StorageError("the log is damaged", `entries are missing after ${from}`);
  return entries;
}

function describe(machine: StateMachine, baseIndex: number, lastIndex: number): string {
  return `the state has applied ${machine.appliedIndex}, the log holds ${baseIndex + 1} to ${lastIndex}. Restore the whole data directory; start with an empty one only while every other member is up and caught up`;
}
