/** Leader election: §3.4, the up-to-date check §3.6.1, pre-vote §9.6, stickiness §4.2.3. */
import { assert } from "./assert.ts";
import type { Message, PreVote, PreVoteResponse, Vote, VoteResponse } from "./messages.ts";
import { becomeCandidate, becomeLeader, becomePreCandidate, resetElectionTimer } from "./roles.ts";
import type { RaftState } from "./state.ts";

export function tickElection(state: RaftState): void {
  state.electionElapsed++;
  if (state.electionElapsed < state.electionTimeout) return;
  if (state.restoring) resetElectionTimer(state);
  else startPreElection(state);
}

export function startPreElection(state: RaftState): void {
  becomePreCandidate(state);
  if (state.quorum === 1) {
    startElection(state, false);
    return;
  }
  const { self: from, log } = state;
  for (const to of state.others) state.send({ type: "preVote", from, to, term: state.term + 1, last: log.last });
}

/** `transfer`: the leader asked for it, so the voters need not wait for its silence. */
export function startElection(state: RaftState, transfer: boolean): void {
  becomeCandidate(state);
  const { self: from, term, log } = state;
  // Sent behind the write of the own vote: after a crash this term would be begun again, with other votes.
  for (const to of state.others) state.promise({ type: "vote", from, to, term, last: log.last, transfer });
}

/** True while the leader is heard, or may have been by what this member was before it restarted. */
export function isHeldOff(state: RaftState, message: PreVote | Vote): boolean {
  if (message.type === "vote" && message.transfer) return false;
  if (state.quietTicks > 0) return true;
  return state.leader !== 0 && state.electionElapsed < state.config.electionTicks;
}

export function onPreVote(state: RaftState, { from, term, last }: PreVote): void {
  const granted = term > state.term && state.log.isUpToDate(last);
  // A grant carries the term that was asked for, a refusal the own one, for the asker to learn.
  state.send({ type: "preVoteResponse", from: state.self, to: from, term: granted ? term : state.term, granted });
}

export function onVote(state: RaftState, { from, last }: Vote): void {
  const free = state.vote === from || (state.vote === 0 && state.leader === 0);
  const granted = free && state.log.isUpToDate(last);
  if (granted) {
    state.vote = from;
    resetElectionTimer(state);
  }
  state.promise({ type: "voteResponse", from: state.self, to: from, term: state.term, granted });
}

export function onPreVoteResponse(state: RaftState, { from, term, granted }: PreVoteResponse): void {
  if (state.role !== "pre-candidate" || (granted && term !== state.term + 1)) return;
  state.votes.set(from, granted);
  if (count(state, true) >= state.quorum) startElection(state, false);
}

export function onVoteResponse(state: RaftState, { from, granted }: VoteResponse): void {
  recordVote(state, from, granted);
}

/** Also for the own vote, once it is durable. */
export function recordVote(state: RaftState, voter: number, granted: boolean): void {
  if (state.role !== "candidate" || state.votes.has(voter)) return;
  assert(state.config.voters.includes(voter), "only members vote");
  state.votes.set(voter, granted);
  if (count(state, true) >= state.quorum) becomeLeader(state);
}

/** A message of an older term is answered where its sender would not learn of this term otherwise (§9.6, end). */
export function answerOldTerm(state: RaftState, message: Message): void {
  const { self: from, term } = state;
  const to = message.from;
  if (message.type === "append" || message.type === "heartbeat")
    state.send({ type: "appendRejected", from, to, term, rejected: 0, hint: { index: 0, term: 0 } });
  else if (message.type === "preVote") state.send({ type: "preVoteResponse", from, to, term, granted: false });
}

function count(state: RaftState, granted: boolean): number {
  let counted = 0;
  for (const vote of state.votes.values()) if (vote === granted) counted++;
  return counted;
}
