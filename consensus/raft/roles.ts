/** Transitions between the roles (figure 3.3), and the volatile state that each one resets. */
import { assert } from "./assert.ts";
import { makeEntry } from "./entry.ts";
import { failReads } from "./read-index.ts";
import { noLease, type RaftState } from "./state.ts";

export function becomeFollower(state: RaftState, term: number, leader: number): void {
  reset(state, term);
  state.role = "follower";
  state.leader = leader;
}

/** §9.6: asks whether it would win an election. Changes no persistent state. */
export function becomePreCandidate(state: RaftState): void {
  assert(state.role !== "leader", "a leader starts no election");
  state.role = "pre-candidate";
  state.leader = 0;
  state.votes = new Map([[state.self, true]]);
  resetElectionTimer(state);
}

export function becomeCandidate(state: RaftState): void {
  assert(state.role !== "leader", "a leader starts no election");
  reset(state, state.term + 1);
  state.role = "candidate";
  state.newcomer = false; // a newcomer campaigns only while the whole group is new
  state.vote = state.self; // counted once it is durable: see onSaved in step.ts
}

export function becomeLeader(state: RaftState): void {
  assert(state.role === "candidate", "only a candidate becomes leader");
  reset(state, state.term);
  state.role = "leader";
  state.leader = state.self;
  trackMembers(state);
  state.termStart = state.log.lastIndex + 1;
  // §3.6.2: entries of older terms are committed only along with one of this term, so append one at once.
  state.log.push(makeEntry(state.termStart, state.term, "noop", new Uint8Array(0)));
}

/** The leader replicates to exactly the members of the latest configuration, learners included. */
export function trackMembers(state: RaftState): void {
  const ids = state.configuration.members.map(({ id }) => id).filter((id) => id !== state.self);
  for (const id of ids) if (!state.progress.has(id)) state.progress.set(id, state.newProgress());
  for (const id of [...state.progress.keys()]) if (!ids.includes(id)) state.progress.delete(id);
  if (!state.others.includes(state.transferTo)) state.transferTo = 0;
}

export function resetElectionTimer(state: RaftState): void {
  const { electionTicks, random } = state.config;
  state.electionElapsed = 0;
  state.electionTimeout = electionTicks + Math.floor(random() * electionTicks);
}

function reset(state: RaftState, term: number): void {
  assert(term >= state.term, "a member's term never decreases");
  if (term !== state.term) {
    state.term = term;
    state.vote = 0;
  }
  state.leader = 0;
  state.votes = new Map();
  state.progress = new Map();
  state.heartbeatElapsed = 0;
  state.transferTo = 0;
  state.round = 0;
  state.lease = noLease();
  state.needsRound = false;
  state.snapshotsFor = [];
  state.fetches = [];
  failReads(state);
  resetElectionTimer(state);
}
