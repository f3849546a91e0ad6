/**
 * Leader election (§3.4) with the up-to-date check (§3.6.1), pre-vote (§9.6), and disruptive servers disregarded
 * (§4.2.3).
 */
import { isMember, votersOf } from "./configuration.ts";
import type { Message, NotMember, PreVote, PreVoteResponse, Vote, VoteResponse } from "./messages.ts";
import { becomeCandidate, becomeLeader, becomePreCandidate, resetElectionTimer } from "./roles.ts";
import type { RaftState } from "./state.ts";

export function tickElection(state: RaftState): void {
  state.electionElapsed++;
  if (state.electionElapsed < state.electionTimeout) return;
  if (state.restoring || !mayCampaign(state)) resetElectionTimer(state);
  else startPreElection(state);
}

/**
 * Whether this member may start an election: a voter, or a server whose removal is not committed yet. The latter may hold
 * the only copy of the entry that removes it, and then no other member can be elected (§4.2.2).
 */
export function mayCampaign(state: RaftState): boolean {
  const { log, configuration, self } = state;
  if (state.dismissed || (state.newcomer && log.lastIndex > 0)) return false;
  if (state.isVoter) return true;
  return configuration.index > log.commit && votersOf(log.configurationAt(log.commit)).includes(self);
}

/**
 * A newcomer may be a member that lost its disk, and with it entries that it helped to commit. Its vote could elect a
 * leader without those entries, so it grants none until it has caught up; except to an empty log, which needs the votes
 * of all members: then the whole group is new.
 */
function mayVoteFor(state: RaftState, { last }: PreVote | Vote): boolean {
  return !state.newcomer || (state.log.lastIndex === 0 && last.index === 0);
}

/**
 * A newcomer that holds everything the leader of this term has committed also holds again whatever it acknowledged
 * before.
 */
export function noteCaughtUp(state: RaftState, committed: number): void {
  const { log, term } = state;
  if (state.newcomer && log.commit >= committed && log.term(log.commit) === term) state.newcomer = false;
}

/**
 * Whether a vote request comes from a server outside the configuration, and is to be ignored. If that server's log is
 * ahead, it may have been added by entries that this member has not received yet: then its request counts.
 */
export function isFromNonMember(state: RaftState, { from, last }: PreVote | Vote): boolean {
  const { log, configuration } = state;
  if (isMember(configuration, from) || configuration.members.length === 0) return false;
  return !(last.term > log.lastTerm || (last.term === log.lastTerm && last.index > log.lastIndex));
}

/** Reports to a server that it is not in the committed configuration. */
export function rejectNonMember(state: RaftState, { from: to }: PreVote | Vote): void {
  const { log, self: from, term } = state;
  const committed = log.configurationAt(log.commit);
  if (isMember(committed, to)) return;
  state.send({ type: "notMember", from, to, term, since: committed.index });
}

/** Valid only from a configuration as late as this member's own. An append or heartbeat from a leader revokes it. */
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

/** `transfer`: the current leader requested this election, so the voters do not disregard it. */
export function startElection(state: RaftState, transfer: boolean): void {
  becomeCandidate(state);
  const { self: from, term, log } = state;
  // Sent once the own vote is durable: after a crash this member could start the same term again and vote differently.
  for (const to of state.others) state.promise({ type: "vote", from, to, term, last: log.last, transfer });
}

/**
 * Whether a vote request is disregarded (§4.2.3): a leader's message came within the last election timeout, or may have
 * come just before a restart.
 */
export function isDisregarded(state: RaftState, message: PreVote | Vote): boolean {
  if (message.type === "vote" && message.transfer) return false;
  if (state.noVoteTicks > 0) return true;
  return state.leader !== 0 && state.electionElapsed < state.config.electionTicks;
}

export function onPreVote(state: RaftState, request: PreVote): void {
  const { from, term, last } = request;
  const granted = term > state.term && state.log.isUpToDate(last) && mayVoteFor(state, request);
  // A granted pre-vote carries the requested term; a rejection carries this member's own, so that the sender learns it.
  state.send({ type: "preVoteResponse", from: state.self, to: from, term: granted ? term : state.term, granted });
}

export function onVote(state: RaftState, request: Vote): void {
  const { from, last } = request;
  const canVote = state.vote === from || (state.vote === 0 && state.leader === 0);
  const granted = canVote && state.log.isUpToDate(last) && mayVoteFor(state, request);
  if (granted) {
    state.newcomer = false; // the whole group is new, and this is the first thing to remember
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

/** Also called for the candidate's own vote, once that is durable. */
export function recordVote(state: RaftState, voter: number, granted: boolean): void {
  if (state.role !== "candidate" || state.votes.has(voter)) return;
  state.votes.set(voter, granted);
  if (hasWon(state)) becomeLeader(state);
}

/** Answers messages of an older term whose sender would not learn the current term otherwise (end of §9.6). */
export function answerOldTerm(state: RaftState, message: Message): void {
  const { self: from, term } = state;
  const to = message.from;
  if (message.type === "append" || message.type === "heartbeat")
    state.send({ type: "appendRejected", from, to, term, rejected: 0, hint: { index: 0, term: 0 } });
  else if (message.type === "preVote") state.send({ type: "preVoteResponse", from, to, term, granted: false });
}

/**
 * Counts voters only: a vote may be that of a learner or of a removed member, and so may this member's own. A group begins
 * with the votes of all its members: a majority may have lost their disks, and the others hold what was committed.
 */
function hasWon({ log, voters, votes, quorum }: RaftState): boolean {
  const needed = log.lastIndex === 0 ? voters.length : quorum;
  return voters.filter((id) => votes.get(id) === true).length >= needed;
}
