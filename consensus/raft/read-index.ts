/**
 * Linearizable reads without a log entry: §6.4. Batched: every read of a turn shares one round of heartbeats. A follower
 * asks its leader, and reads once it has applied that far itself.
 */
import { holdsLease } from "./lease.ts";
import type { ReadRequest, ReadResponse } from "./messages.ts";
import { quorumValue, type RaftState, type ReadQuestion } from "./state.ts";

export function askRead(state: RaftState, id: number): void {
  const { self: from, leader: to, term } = state;
  if (state.role === "leader") {
    ask(state, { id, from });
  } else if (to === 0 || to === from) {
    state.readStates.push({ id, index: undefined });
  } else {
    state.readsForwarded.set(id, state.config.electionTicks);
    state.send({ type: "readRequest", from, to, term, id });
  }
}

export function onReadRequest(state: RaftState, { from, id }: ReadRequest): void {
  if (state.role === "leader") ask(state, { id, from });
  else answer(state, { id, from }, undefined);
}

export function onReadResponse(state: RaftState, { id, index }: ReadResponse): void {
  if (state.readsForwarded.delete(id)) state.readStates.push({ id, index });
}

/** An answer that does not come within an election timeout was lost. */
export function tickReads(state: RaftState): void {
  for (const [id, ticks] of state.readsForwarded) {
    if (ticks > 1) state.readsForwarded.set(id, ticks - 1);
    else onReadResponse(state, { type: "readResponse", from: 0, to: state.self, term: 0, id, index: undefined });
  }
}

/** Until it has committed in its own term, an earlier leader may have committed more than this one knows of (§6.4, step 1). */
function hasCommitted({ log, term }: RaftState): boolean {
  return log.term(log.commit) === term;
}

/** Nobody else can have committed anything. */
export function isReadable(state: RaftState): boolean {
  return state.role === "leader" && hasCommitted(state) && (state.isAlone || holdsLease(state));
}

function ask(state: RaftState, question: ReadQuestion): void {
  if (!hasCommitted(state)) {
    state.readsHeldBack.push(question);
  } else if (isReadable(state)) {
    answer(state, question, state.log.commit);
  } else {
    state.reads.push({ ...question, index: state.log.commit, round: state.round + 1 });
    state.roundWanted = true;
  }
}

function answer(state: RaftState, { id, from: to }: ReadQuestion, index: number | undefined): void {
  const { self: from, term } = state;
  if (to === from) state.readStates.push({ id, index });
  else state.send({ type: "readResponse", from, to, term, id, index });
}

/** After the first commit of the term. */
export function askHeldBack(state: RaftState): void {
  if (state.readsHeldBack.length === 0) return;
  const held = state.readsHeldBack;
  state.readsHeldBack = [];
  for (const question of held) ask(state, question);
}

/** A member answered a round: reads asked before a round that a quorum has answered were asked of the true leader. */
export function confirmReads(state: RaftState): void {
  const first = state.reads[0];
  if (first === undefined) return;
  const confirmed = quorumValue(state, (id) =>
    id === state.self ? state.round : (state.progress.get(id)?.round ?? 0),
  );
  if (first.round > confirmed) return;
  let taken = 0;
  for (const read of state.reads) {
    if (read.round > confirmed) break;
    answer(state, read, read.index);
    taken++;
  }
  state.reads.splice(0, taken);
}

/** Leader or term are others: whoever asked is to ask again. */
export function failReads(state: RaftState): void {
  for (const question of [...state.readsHeldBack, ...state.reads]) answer(state, question, undefined);
  for (const id of state.readsForwarded.keys()) state.readStates.push({ id, index: undefined });
  state.readsHeldBack = [];
  state.reads = [];
  state.readsForwarded.clear();
}
