import type { StateMachine } from "../group.ts";
import type { Raft } from "../raft/raft.ts";
import type { GroupTuning } from "./tuning.ts";

/**
 * Up to which index the log may be cut now, or undefined when it is not worth it: never past what the machine has on
 * disk, what a mirror still wants, or a snapshot on its way to a member.
 */
export function planCut(
  raft: Raft,
  machine: StateMachine,
  pins: readonly number[],
  tuning: GroupTuning,
): number | undefined {
  const { log } = raft;
  const matched = log.configuration.members
    .map(({ id }) => raft.progress(id))
    .filter((progress) => progress !== undefined && progress.silentTicks < tuning.electionTicks)
    .map((progress) => progress!.match);
  const through = Math.min(
    machine.durableIndex,
    machine.retainFromIndex - 1,
    log.applied - tuning.keepEntries,
    Math.max(Math.min(...matched), log.applied - tuning.keepForSlowEntries),
    ...pins,
  );
  return through - log.base.index >= tuning.cutStep ? through : undefined;
}
