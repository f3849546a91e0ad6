/** Log replication: §3.5, pipelined §10.2, commitment §3.6.2, snapshots §5. */
import { isMember } from "./configuration.ts";
import { noteLevel } from "./election.ts";
import { type Entry, makeEntry } from "./entry.ts";
import { noteRound, renewLease } from "./lease.ts";
import type { Append, AppendAccepted, AppendRejected, Heartbeat, HeartbeatResponse } from "./messages.ts";
import type { Progress } from "./progress.ts";
import { askHeldBack, confirmReads } from "./read-index.ts";
import { becomeFollower } from "./roles.ts";
import { quorumValue, type RaftState } from "./state.ts";
import { hurryTransfer } from "./transfer.ts";

export function appendOwn(state: RaftState, data: readonly Uint8Array[]): void {
  for (const bytes of data) state.log.push(makeEntry(state.log.lastIndex + 1, state.term, "application", bytes));
}

/** Sends every follower what it lacks, as far as its window allows. Once a turn: that is the batching. */
export function replicate(state: RaftState): void {
  for (const [to, progress] of state.progress) {
    while (!progress.paused && progress.next <= state.log.lastIndex) if (!sendNext(state, to, progress)) break;
  }
}

/** An append even if there is nothing to append: finds out whether the logs agree. */
function probe(state: RaftState, to: number, progress: Progress): void {
  if (!progress.paused) sendNext(state, to, progress);
}

function sendNext(state: RaftState, to: number, progress: Progress): boolean {
  const { log } = state;
  const previousTerm = log.term(progress.next - 1);
  if (previousTerm === undefined) {
    needSnapshot(state, to, progress);
    return false;
  }
  const entries = log.slice(progress.next, state.config.appendBytesMax);
  if (entries === undefined) {
    progress.fetching = true;
    const bytesMax = state.config.appendBytesMax;
    state.fetches.push({ to, from: progress.next, through: log.lastIndex, bytesMax });
    return false;
  }
  sendEntries(state, to, progress, entries, previousTerm);
  return entries.length > 0;
}

function sendEntries(
  state: RaftState,
  to: number,
  progress: Progress,
  entries: readonly Entry[],
  previousTerm: number,
): void {
  const { self: from, term, log } = state;
  const previous = { index: progress.next - 1, term: previousTerm };
  state.send({ type: "append", from, to, term, previous, commit: log.commit, entries });
  if (entries.length === 0 && progress.state === "replicate") return;
  let bytes = 0;
  for (const entry of entries) bytes += entry.encoded.length;
  progress.sent(previous.index + entries.length, bytes);
}

function needSnapshot(state: RaftState, to: number, progress: Progress): void {
  progress.become("snapshot");
  state.snapshotsFor.push(to);
}

export function onFetched(state: RaftState, term: number, to: number, from: number, entries: readonly Entry[]): void {
  const progress = state.progress.get(to);
  if (state.role !== "leader" || state.term !== term || progress === undefined) return;
  progress.fetching = false;
  const previousTerm = state.log.term(progress.next - 1);
  if (progress.next !== from || progress.paused || previousTerm === undefined || entries.length === 0) return;
  sendEntries(state, to, progress, entries, previousTerm);
}

export function onAppend(state: RaftState, { from, previous, commit, entries }: Append): void {
  const { log, self, term } = state;
  if (state.restoring) return;
  if (previous.index < log.commit && previous.index + entries.length <= log.commit) {
    // Old: what is committed is agreed. Nothing to compare, and the entry before may be cut.
    state.promise({ type: "appendAccepted", from: self, to: from, term, match: log.commit });
    return;
  }
  if (previous.index >= log.base.index && !log.matches(previous)) {
    const hint = log.lastNotAfter(previous.index, previous.term);
    state.send({ type: "appendRejected", from: self, to: from, term, rejected: previous.index, hint });
    return;
  }
  log.merge(entries);
  const match = previous.index + entries.length;
  log.commit = Math.max(log.commit, Math.min(commit, match));
  noteLevel(state, commit);
  state.promise({ type: "appendAccepted", from: self, to: from, term, match });
}

export function onAppendAccepted(state: RaftState, { from, match }: AppendAccepted): void {
  const progress = state.progress.get(from);
  if (progress === undefined) return;
  progress.silentTicks = 0;
  if (!progress.accepted(match)) return;
  advanceCommit(state);
  if (state.transferTo === from) hurryTransfer(state);
}

export function onAppendRejected(state: RaftState, { from, rejected, hint }: AppendRejected): void {
  const progress = state.progress.get(from);
  if (progress === undefined) return;
  progress.silentTicks = 0;
  // The follower's hint skips its own terms, this skips the leader's: one probe for each term that differs.
  const agreeAt = state.log.lastNotAfter(hint.index, hint.term).index;
  if (progress.rejected(rejected, agreeAt)) probe(state, from, progress);
}

/** §3.6.2: counts replicas only for entries of the own term; older ones are committed with them (figure 3.7). */
export function advanceCommit(state: RaftState): void {
  const { log } = state;
  const reached = quorumValue(
    state,
    (id) => (id === state.self ? log.stable : (state.progress.get(id)?.match ?? 0)), // itself only as far as it is durable (§10.2.1)
  );
  if (reached <= log.commit || log.term(reached) !== state.term) return;
  log.commit = reached;
  askHeldBack(state);
  noteCommitted(state);
}

/** §4.2.2: a leader that is no member any more leads until that is committed, and then hands over to who has most. */
function noteCommitted(state: RaftState): void {
  const { log, configuration, self: from, term } = state;
  if (configuration.index > log.commit || isMember(configuration, from)) return;
  sendHeartbeats(state); // that it is committed
  const [to] = state.others.sort((a, b) => matchOf(state, b) - matchOf(state, a));
  if (to !== undefined) state.send({ type: "timeoutNow", from, to, term });
  becomeFollower(state, term, 0);
}

function matchOf(state: RaftState, member: number): number {
  return state.progress.get(member)?.match ?? 0;
}

export function sendHeartbeats(state: RaftState): void {
  noteRound(state);
  const { self: from, term, log, round } = state;
  for (const [to, progress] of state.progress) {
    const commit = Math.min(progress.match, log.commit);
    state.send({ type: "heartbeat", from, to, term, commit, committed: log.commit, round });
  }
}

export function onHeartbeat(state: RaftState, { from, commit, committed, round }: Heartbeat): void {
  const { log, self, term } = state;
  if (!state.restoring) {
    log.commit = Math.max(log.commit, Math.min(commit, log.lastIndex));
    noteLevel(state, committed);
  }
  state.send({ type: "heartbeatResponse", from: self, to: from, term, round });
}

export function onHeartbeatResponse(state: RaftState, { from, round }: HeartbeatResponse): void {
  const progress = state.progress.get(from);
  if (progress === undefined) return;
  progress.heard();
  progress.round = Math.max(progress.round, round);
  renewLease(state);
  confirmReads(state);
  if (progress.match < state.log.lastIndex || progress.state === "probe") probe(state, from, progress);
}

/** The way to a member broke: what was sent may be lost. */
export function onUnreachable(state: RaftState, peer: number): void {
  const progress = state.progress.get(peer);
  if (progress?.state === "replicate") progress.become("probe");
}

/** A snapshot has been put in place at the follower, up to `index`, or has failed (undefined). */
export function onSnapshotSent(state: RaftState, to: number, index: number | undefined): void {
  const progress = state.progress.get(to);
  if (progress?.state !== "snapshot") return;
  if (index !== undefined) progress.match = Math.max(progress.match, index);
  progress.become("probe");
  progress.probing = index === undefined; // try again at the next heartbeat's answer
}
