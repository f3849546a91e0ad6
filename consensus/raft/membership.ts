/** Membership changes at the leader (§4). */
import { assert } from "./assert.ts";
import { type Configuration, encodeConfiguration, isOneStep } from "./configuration.ts";
import { makeEntry } from "./entry.ts";
import { advanceCommit } from "./replication.ts";
import { trackMembers } from "./roles.ts";
import type { RaftState } from "./state.ts";

/**
 * Why no change can be proposed now: one change at a time, and none before the leader has committed an entry of its own
 * term.
 */
export function changeRefusal(state: RaftState): "not-leader" | "unsettled" | "pending" | undefined {
  const { log, term } = state;
  if (!state.accepting) return "not-leader";
  // The bug in §4.1 found in 2015: a change by an earlier leader, missing from this log, may still be committed.
  if (log.term(log.commit) !== term) return "unsettled";
  return state.configuration.index > log.commit ? "pending" : undefined;
}

/** The new configuration takes effect when it is appended: its own entry is committed by a majority of it (§4.1). */
export function configure(state: RaftState, to: Configuration): void {
  if (changeRefusal(state) !== undefined) return;
  assert(isOneStep(state.configuration, to), "a change adds or removes one voter at most");
  state.log.push(makeEntry(state.log.lastIndex + 1, state.term, "configuration", encodeConfiguration(to)));
  trackMembers(state);
  advanceCommit(state); // the new majority may be smaller, and further
}
