/** Leader election: §3.4, the up-to-date check §3.6.1, pre-vote §9.6, stickiness §4.2.3, who may stand §4.2.2. */
import { isMember, votersOf } from "./configuration.ts";
import type { Message, NotMember, PreVote, PreVoteResponse, Vote, VoteResponse } from "./messages.ts";
import { becomeCandidate, becomeLeader, becomePreCandidate, resetElectionTimer } from "./roles.ts";
import type { RaftState } from "./state.ts";

export function tickElection(state: RaftState): void {
  state.electionElapsed++;
  if (state.electionElapsed < state.electionTimeout) return;
  if (state.restoring || !mayStand(state)) resetElectionTimer(state);
  else startPreElection(state);
}

/**
 * Who votes; also one whose removal is not committed: it may hold the only copy of that entry, and then nobody else can
 * be elected (§4.2.2).
 */
export function mayStand(state: RaftState): boolean {
  const { log, configuration, self } = state;
  if (state.dismissed || (state.newcomer && log.lastIndex > 0)) return false;
  if (state.isVoter) return true;
  return configuration.index > log.commit && votersOf(log.configurationAt(log.commit)).includes(self);
}

/**
 * A newcomer may be a member that lost its disk, and with it what it had helped to commit. Until it has again all that
 * was committed, its vote could elect one who lacks that. Where all are empty, a group begins.
 */
function mayVoteFor(state: RaftState, { last }: PreVote | Vote): boolean {
  return !state.newcomer || (state.log.lastIndex === 0 && last.index === 0);
}

/** It holds all that the leader of this term knows to be committed: what it had promised before is among that. */
export function noteLevel(state: RaftState, committed: number): void {
  const { log, term } = state;
  if (state.newcomer && log.commit >= committed && log.term(log.commit) === term) state.newcomer = false;
}

/**
 * A stranger's word about votes. One that this member's log leads past is no member any more, or never was, and is told
 * so; one whose log is ahead may have been added by entries that are still to come here.
 */
export function isStranger(state: RaftState, { from, last }: PreVote | Vote): boolean {
  const { log, configuration } = state;
  if (isMember(configuration, from) || configuration.members.length === 0) return false;
  return !(last.term > log.lastTerm || (last.term === log.lastTerm && last.index > log.lastIndex));
}

export function dismissStranger(state: RaftState, { from: to }: PreVote | Vote): void {
  const { log, self: from, term } = state;
  const committed = log.configurationAt(log.commit);
  if (isMember(committed, to)) return;
  state.send({ type: "notMember", from, to, term, since: committed.index });
}

/** Only a later configuration than the own can say so. Whoever leads and sends entries knows better. */
export function onNotMember(state: RaftState, { since }: NotMember): void {
  if (state.role !== "leader" && since >= state.configuration.index) state.dismissed = true;
}

export function startPreElection(state: RaftState): void {
  becomePreCandidate(state);
  if (state.isAlone) {
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

export function onPreVote(state: RaftState, request: PreVote): void {
  const { from, term, last } = request;
  const granted = term > state.term && state.log.isUpToDate(last) && mayVoteFor(state, request);
  // A grant carries the term that was asked for, a refusal the own one, for the asker to learn.
  state.send({ type: "preVoteResponse", from: state.self, to: from, term: granted ? term : state.term, granted });
}

export function onVote(state: RaftState, request: Vote): void {
  const { from, last } = request;
  const free = state.vote === from || (state.vote === 0 && state.leader === 0);
  const granted = free && state.log.isUpToDate(last) && mayVoteFor(state, request);
  if (granted) {
    state.newcomer = false; // a group begins, and this is its first promise
    state.vote = from;
    resetElectionTimer(state);
  }
  state.promise({ type: "voteResponse", from: state.self, to: from, term: state.term, granted });
}

export function onPreVoteResponse(state: RaftState, { from, term, granted }: PreVoteResponse): void {
  if (state.role !== "pre-candidate" || (granted && term !== state.term + 1)) return;
  state.votes.set(from, granted);
  if (hasWon(state)) startElection(state, false);
}

export function onVoteResponse(state: RaftState, { from, granted }: VoteResponse): void {
  recordVote(state, from, granted);
}

/** Also for the own vote, once it is durable. */
export function recordVote(state: RaftState, voter: number, granted: boolean): void {
  if (state.role !== "candidate" || state.votes.has(voter)) return;
  state.votes.set(voter, granted);
  if (hasWon(state)) becomeLeader(state);
}

/** A message of an older term is answered where its sender would not learn of this term otherwise (§9.6, end). */
export function answerOldTerm(state: RaftState, message: Message): void {
  const { self: from, term } = state;
  const to = message.from;
  if (message.type === "append" || message.type === "heartbeat")
    state.send({ type: "appendRejected", from, to, term, rejected: 0, hint: { index: 0, term: 0 } });
  else if (message.type === "preVote") state.send({ type: "preVoteResponse", from, to, term, granted: false });
}

/** A learner's vote, or one of a member that is no more, is no vote; the own may be such a one. */
function hasWon(state: RaftState): boolean {
  return state.voters.filter((id) => state.votes.get(id) === true).length >= state.quorum;
}
