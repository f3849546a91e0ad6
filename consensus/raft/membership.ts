/** Changes of the configuration, as the leader makes them: §4. */
import { assert } from "./assert.ts";
import { type Configuration, encodeConfiguration, isOneStep } from "./configuration.ts";
import { makeEntry } from "./entry.ts";
import { advanceCommit } from "./replication.ts";
import { followMembers } from "./roles.ts";
import type { RaftState } from "./state.ts";

/** What stands in the way of a change, at a leader: one at a time, and none before an entry of the own term is committed. */
export function changeRefusal(state: RaftState): "not-leader" | "unsettled" | "pending" | undefined {
  const { log, term } = state;
  if (!state.accepting) return "not-leader";
  // The error of 2015 in §4.1: a change of an earlier leader, which this one cannot see, may still be under way.
  if (log.term(log.commit) !== term) return "unsettled";
  return state.configuration.index > log.commit ? "pending" : undefined;
}

/** It holds from now on: the entry itself is committed by the new majority. */
export function configure(state: RaftState, to: Configuration): void {
  if (changeRefusal(state) !== undefined) return;
  assert(isOneStep(state.configuration, to), "one member is changed at a time");
  state.log.push(makeEntry(state.log.lastIndex + 1, state.term, "configuration", encodeConfiguration(to)));
  followMembers(state);
  advanceCommit(state); // a smaller majority may hold more
}
