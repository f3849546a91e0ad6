/** Linearizable reads without a log entry: §6.4. Batched: every read of a turn shares one round of heartbeats. */
import { quorumValue, type RaftState } from "./state.ts";

export function askRead(state: RaftState, id: number): void {
  if (state.role !== "leader") {
    state.readStates.push({ id, index: undefined });
  } else if (state.log.term(state.log.commit) !== state.term) {
    state.readsHeldBack.push(id); // an earlier leader may have committed more than this one knows of yet
  } else if (state.quorum === 1) {
    state.readStates.push({ id, index: state.log.commit });
  } else {
    state.reads.push({ id, index: state.log.commit, round: state.round + 1 });
    state.roundWanted = true;
  }
}

/** After the first commit of the term. */
export function askHeldBack(state: RaftState): void {
  if (state.readsHeldBack.length === 0) return;
  const held = state.readsHeldBack;
  state.readsHeldBack = [];
  for (const id of held) askRead(state, id);
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
  for (const { id, index, round } of state.reads) {
    if (round > confirmed) break;
    state.readStates.push({ id, index });
    taken++;
  }
  state.reads.splice(0, taken);
}

export function failReads(state: RaftState): void {
  for (const id of state.readsHeldBack) state.readStates.push({ id, index: undefined });
  for (const { id } of state.reads) state.readStates.push({ id, index: undefined });
  state.readsHeldBack = [];
  state.reads = [];
}
