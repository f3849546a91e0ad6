/** The step function: one total table for the inputs, one for the messages. */
import { assert } from "./assert.ts";
import {
  answerOldTerm,
  isDisregarded,
  isFromNonMember,
  mayCampaign,
  onNotMember,
  onPreVote,
  onPreVoteResponse,
  onVote,
  onVoteResponse,
  recordVote,
  rejectNonMember,
  startElection,
  tickElection,
} from "./election.ts";
import type { Input, Save } from "./input.ts";
import { configure } from "./membership.ts";
import type { Message } from "./messages.ts";
import { confirmReads, expireForwardedReads, onReadRequest, onReadResponse, requestRead } from "./read-index.ts";
import {
  advanceCommit,
  appendOwn,
  onAppend,
  onAppendAccepted,
  onAppendRejected,
  onFetched,
  onHeartbeat,
  onHeartbeatResponse,
  onSnapshotSent,
  onUnreachable,
  sendHeartbeats,
} from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import type { RaftState } from "./state.ts";
import { startTransfer, tickTransfer } from "./transfer.ts";

export function step(state: RaftState, input: Input): void {
  (onInput[input.type] as (state: RaftState, input: Input) => void)(state, input);
}

const onInput: { [K in Input["type"]]: (state: RaftState, input: Extract<Input, { type: K }>) => void } = {
  message: (state, { message }) => receive(state, message),
  tick,
  clock: (state, { nowMs }) => {
    state.nowMs = nowMs;
  },
  propose: (state, { data }) => {
    if (state.accepting) appendOwn(state, data);
  },
  configure: (state, { to }) => configure(state, to),
  readIndex: (state, { id }) => requestRead(state, id),
  transfer: (state, { to }) => startTransfer(state, to),
  saved: (state, { save }) => onSaved(state, save),
  fetched: (state, { term, to, from, entries }) => onFetched(state, term, to, from, entries),
  unreachable: (state, { peer }) => onUnreachable(state, peer),
  snapshotSent: (state, { to, index }) => onSnapshotSent(state, to, index),
  committed: ({ log }, { at }) => {
    if (log.matches(at)) log.commit = Math.max(log.commit, at.index);
  },
  restoring: (state, { leader, term }) => {
    if (term > state.term || state.role !== "follower") becomeFollower(state, term, leader);
    state.restoring = true;
  },
  restored: (state, { to }) => {
    state.restoring = false;
    if (to !== undefined) state.log.reset(to.at, to.configuration);
  },
  cut: (state, { through }) => state.log.cut(through),
};

const onMessage: { [K in Message["type"]]: (state: RaftState, message: Extract<Message, { type: K }>) => void } = {
  preVote: onPreVote,
  preVoteResponse: onPreVoteResponse,
  vote: onVote,
  voteResponse: onVoteResponse,
  append: (state, message) => {
    follow(state, message.from);
    onAppend(state, message);
  },
  heartbeat: (state, message) => {
    follow(state, message.from);
    onHeartbeat(state, message);
  },
  appendAccepted: onAppendAccepted,
  appendRejected: onAppendRejected,
  heartbeatResponse: onHeartbeatResponse,
  timeoutNow: (state) => {
    if (state.role !== "leader" && !state.restoring && mayCampaign(state)) startElection(state, true);
  },
  notMember: onNotMember,
  readRequest: onReadRequest,
  readResponse: onReadResponse,
};

/** The rules for all servers first (figure 3.1), then those of the message's type. */
function receive(state: RaftState, message: Message): void {
  if (isAdmitted(state, message))
    (onMessage[message.type] as (state: RaftState, message: Message) => void)(state, message);
}

/** Compares terms, and adopts a later one. @returns false when the message is to be ignored */
function isAdmitted(state: RaftState, message: Message): boolean {
  const { type, from, term } = message;
  if (type === "notMember") return true; // valid in any term: a removed server's may be ahead or behind
  if (type === "preVote" || type === "vote") {
    if (isFromNonMember(state, message)) {
      if (type === "preVote") rejectNonMember(state, message);
      return false;
    }
    if (term >= state.term && isDisregarded(state, message)) return false;
  }
  if (term < state.term) {
    answerOldTerm(state, message);
    return false;
  }
  if (term > state.term && startsTerm(message))
    becomeFollower(state, term, type === "append" || type === "heartbeat" ? from : 0);
  return true;
}

/** A pre-vote and its grant carry a term that has not started (§9.6). */
function startsTerm(message: Message): boolean {
  return message.type !== "preVote" && !(message.type === "preVoteResponse" && message.granted);
}

function onSaved(state: RaftState, { hardState, entries }: Save): void {
  const last = entries.at(-1);
  if (last !== undefined) state.log.saved(last);
  if (state.role === "leader") advanceCommit(state);
  if (hardState.term === state.term && hardState.vote === state.self) recordVote(state, state.self, true);
}

function tick(state: RaftState): void {
  if (state.noVoteTicks > 0) state.noVoteTicks--;
  expireForwardedReads(state);
  if (state.role === "leader") tickLeader(state);
  else tickElection(state);
}

function tickLeader(state: RaftState): void {
  const { heartbeatTicks } = state.config;
  for (const progress of state.progress.values()) progress.silentTicks++;
  if (!hasQuorum(state)) {
    becomeFollower(state, state.term, 0); // check-quorum (§6.2): clients should find another leader
    return;
  }
  tickTransfer(state);
  if (++state.heartbeatElapsed < heartbeatTicks) return;
  state.heartbeatElapsed = 0;
  sendHeartbeats(state);
  confirmReads(state); // a membership change may have made the quorum smaller
}

/** Whether a quorum of the voters has responded within an election timeout. */
function hasQuorum(state: RaftState): boolean {
  const { electionTicks } = state.config;
  const isActive = (id: number) =>
    id === state.self || (state.progress.get(id)?.silentTicks ?? electionTicks) < electionTicks;
  return state.voters.filter(isActive).length >= state.quorum;
}

/** Recognizes the sender of an append or a heartbeat as the leader. */
function follow(state: RaftState, leader: number): void {
  assert(state.role !== "leader", "there is one leader per term");
  assert(state.leader === 0 || state.leader === leader, "there is one leader per term");
  if (state.role !== "follower" || state.leader !== leader) becomeFollower(state, state.term, leader);
  state.electionElapsed = 0;
  state.noVoteTicks = state.config.electionTicks;
  state.dismissed = false;
}
