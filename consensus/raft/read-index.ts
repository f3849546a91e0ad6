/**
 * Linearizable reads without a log entry (§6.4, ReadIndex). All reads of a turn share one round of heartbeats. A follower
 * requests the read index from its leader, and serves the read once it has applied that far.
 */
import { holdsLease } from "./lease.ts";
import type { ReadRequest, ReadResponse } from "./messages.ts";
import { quorumValue, type RaftState, type Read } from "./state.ts";

/** A read on this member. */
export function requestRead(state: RaftState, id: number): void {
  const { self: from, leader: to, term } = state;
  if (state.role === "leader") {
    start(state, { id, from });
  } else if (to === 0 || to === from) {
    state.readStates.push({ id, index: undefined });
  } else {
    state.forwardedReads.set(id, state.config.electionTicks);
    state.send({ type: "readRequest", from, to, term, id });
  }
}

export function onReadRequest(state: RaftState, { from, id }: ReadRequest): void {
  if (state.role === "leader") start(state, { id, from });
  else respond(state, { id, from }, undefined);
}

export function onReadResponse(state: RaftState, { id, index }: ReadResponse): void {
  if (state.forwardedReads.delete(id)) state.readStates.push({ id, index });
}

/** A response that has not arrived within an election timeout counts as lost. */
export function expireForwardedReads(state: RaftState): void {
  for (const [id, ticks] of state.forwardedReads) {
    if (ticks > 1) state.forwardedReads.set(id, ticks - 1);
    else onReadResponse(state, { type: "readResponse", from: 0, to: state.self, term: 0, id, index: undefined });
  }
}

/**
 * In its own term. Before that, an earlier leader may have committed entries that this one does not know to be
 * committed (§6.4, step 1).
 */
function hasCommittedInTerm({ log, term }: RaftState): boolean {
  return log.term(log.commit) === term;
}

/** Whether no other leader can have committed anything: reads need no round of heartbeats. */
export function isReadable(state: RaftState): boolean {
  return state.role === "leader" && hasCommittedInTerm(state) && (state.isAlone || holdsLease(state));
}

function start(state: RaftState, read: Read): void {
  if (!hasCommittedInTerm(state)) {
    state.deferredReads.push(read);
  } else if (isReadable(state)) {
    respond(state, read, state.log.commit);
  } else {
    state.reads.push({ ...read, index: state.log.commit, round: state.round + 1 });
    state.needsRound = true;
  }
}

function respond(state: RaftState, { id, from: to }: Read, index: number | undefined): void {
  const { self: from, term } = state;
  if (to === from) state.readStates.push({ id, index });
  else state.send({ type: "readResponse", from, to, term, id, index });
}

/** After the term's first commit. */
export function startDeferredReads(state: RaftState): void {
  if (state.deferredReads.length === 0) return;
  const deferred = state.deferredReads;
  state.deferredReads = [];
  for (const read of deferred) start(state, read);
}

/**
 * After a heartbeat response: if a quorum has responded to a round, this member was the leader when the reads before it
 * were requested.
 */
export function confirmReads(state: RaftState): void {
  const first = state.reads[0];
  if (first === undefined) return;
  const confirmed = quorumValue(state, (id) =>
    id === state.self ? state.round : (state.progress.get(id)?.round ?? 0),
  );
  if (first.round > confirmed) return;
  let done = 0;
  for (const read of state.reads) {
    if (read.round > confirmed) break;
    respond(state, read, read.index);
    done++;
  }
  state.reads.splice(0, done);
}

/** The leader or the term has changed: the caller must retry. */
export function failReads(state: RaftState): void {
  for (const read of [...state.deferredReads, ...state.reads]) respond(state, read, undefined);
  for (const id of state.forwardedReads.keys()) state.readStates.push({ id, index: undefined });
  state.deferredReads = [];
  state.reads = [];
  state.forwardedReads.clear();
}
