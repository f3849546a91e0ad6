/** How a member reacts to each kind of input and of message: two total tables. */
import { assert } from "./assert.ts";
import {
  answerOldTerm,
  dismissStranger,
  isHeldOff,
  isStranger,
  mayStand,
  onNotMember,
  onPreVote,
  onPreVoteResponse,
  onVote,
  onVoteResponse,
  recordVote,
  startElection,
  tickElection,
} from "./election.ts";
import type { Input, Save } from "./input.ts";
import { configure } from "./membership.ts";
import type { Message } from "./messages.ts";
import { askRead, confirmReads, onReadRequest, onReadResponse, tickReads } from "./read-index.ts";
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
  readIndex: (state, { id }) => askRead(state, id),
  transfer: (state, { to }) => startTransfer(state, to),
  saved: (state, { save }) => onSaved(state, save),
  fetched: (state, { term, to, from, entries }) => onFetched(state, term, to, from, entries),
  unreachable: (state, { peer }) => onUnreachable(state, peer),
  snapshotSent: (state, { to, index }) => onSnapshotSent(state, to, index),
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
    if (state.role !== "leader" && !state.restoring && mayStand(state)) startElection(state, true);
  },
  notMember: onNotMember,
  readRequest: onReadRequest,
  readResponse: onReadResponse,
};

/** The rules that hold for every message (figure 3.1, "all servers"), then the message's own. */
function receive(state: RaftState, message: Message): void {
  if (isAdmitted(state, message))
    (onMessage[message.type] as (state: RaftState, message: Message) => void)(state, message);
}

/** Compares terms, and begins the message's term where it is a later one. False: the message goes no further. */
function isAdmitted(state: RaftState, message: Message): boolean {
  const { type, from, term } = message;
  if (type === "notMember") return true; // its sender's term may be ahead of the removed server's, or behind
  if (type === "preVote" || type === "vote") {
    if (isStranger(state, message)) {
      if (type === "preVote") dismissStranger(state, message);
      return false;
    }
    if (term >= state.term && isHeldOff(state, message)) return false;
  }
  if (term < state.term) {
    answerOldTerm(state, message);
    return false;
  }
  if (term > state.term && beginsTerm(message))
    becomeFollower(state, term, type === "append" || type === "heartbeat" ? from : 0);
  return true;
}

/** A pre-vote asks about a term, and a grant answers about it: neither begins it. */
function beginsTerm(message: Message): boolean {
  return message.type !== "preVote" && !(message.type === "preVoteResponse" && message.granted);
}

function onSaved(state: RaftState, { hardState, entries }: Save): void {
  const last = entries.at(-1);
  if (last !== undefined) state.log.saved(last);
  if (state.role === "leader") advanceCommit(state);
  if (hardState.term === state.term && hardState.vote === state.self) recordVote(state, state.self, true);
}

function tick(state: RaftState): void {
  if (state.quietTicks > 0) state.quietTicks--;
  tickReads(state);
  if (state.role === "leader") tickLeader(state);
  else tickElection(state);
}

function tickLeader(state: RaftState): void {
  const { heartbeatTicks } = state.config;
  for (const progress of state.progress.values()) progress.silentTicks++;
  if (!hasQuorum(state)) {
    becomeFollower(state, state.term, 0); // §6.2: its clients are better served by another
    return;
  }
  tickTransfer(state);
  if (++state.heartbeatElapsed < heartbeatTicks) return;
  state.heartbeatElapsed = 0;
  sendHeartbeats(state);
  confirmReads(state); // the last that had to answer may be a member no more
}

/** Has a quorum of the voters answered within an election timeout? */
function hasQuorum(state: RaftState): boolean {
  const { electionTicks } = state.config;
  const isHeard = (id: number) =>
    id === state.self || (state.progress.get(id)?.silentTicks ?? electionTicks) < electionTicks;
  return state.voters.filter(isHeard).length >= state.quorum;
}

function follow(state: RaftState, leader: number): void {
  assert(state.role !== "leader", "one leader a term");
  assert(state.leader === 0 || state.leader === leader, "one leader a term");
  if (state.role !== "follower" || state.leader !== leader) becomeFollower(state, state.term, leader);
  state.electionElapsed = 0;
  state.quietTicks = state.config.electionTicks;
  state.dismissed = false;
}
