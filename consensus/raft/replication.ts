/** Log replication (§3.5), pipelined (§10.2.2); commitment (§3.6.2); when a follower needs a snapshot (§5). */
import { isMember } from "./configuration.ts";
import { noteCaughtUp } from "./election.ts";
import { type Entry, makeEntry } from "./entry.ts";
import { recordRound, renewLease } from "./lease.ts";
import type { Append, AppendAccepted, AppendRejected, Heartbeat, HeartbeatResponse } from "./messages.ts";
import type { Progress } from "./progress.ts";
import { confirmReads, startDeferredReads } from "./read-index.ts";
import { becomeFollower } from "./roles.ts";
import { quorumValue, type RaftState } from "./state.ts";
import { sendTimeoutNow } from "./transfer.ts";

export function appendOwn(state: RaftState, data: readonly Uint8Array[]): void {
  for (const bytes of data) state.log.push(makeEntry(state.log.lastIndex + 1, state.term, "application", bytes));
}

/** Sends each follower its next entries, up to its window. Runs once a turn: that batches the entries. */
export function replicate(state: RaftState): void {
  for (const [to, progress] of state.progress) {
    while (!progress.paused && progress.next <= state.log.lastIndex) if (!sendNext(state, to, progress)) break;
  }
}

/** Sends an append even if it carries no entry, to find out whether the logs match. */
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
    // All of these are committed here, so they match; `previous` may be compacted and cannot be compared.
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
  noteCaughtUp(state, commit);
  state.promise({ type: "appendAccepted", from: self, to: from, term, match });
}

export function onAppendAccepted(state: RaftState, { from, match }: AppendAccepted): void {
  const progress = state.progress.get(from);
  if (progress === undefined) return;
  progress.silentTicks = 0;
  if (!progress.accepted(match)) return;
  advanceCommit(state);
  if (state.transferTo === from) sendTimeoutNow(state);
}

export function onAppendRejected(state: RaftState, { from, rejected, hint }: AppendRejected): void {
  const progress = state.progress.get(from);
  if (progress === undefined) return;
  progress.silentTicks = 0;
  // The follower's hint skips terms of its log, this skips terms of the leader's: one probe per conflicting term (§3.5).
  const matchHint = state.log.lastNotAfter(hint.index, hint.term).index;
  if (progress.rejected(rejected, matchHint)) probe(state, from, progress);
}

/**
 * §3.6.2: only entries of the current term are committed by counting replicas; older ones are committed with them
 * (figure 3.7).
 */
export function advanceCommit(state: RaftState): void {
  const { log } = state;
  // The leader counts its own log only as far as it is durable (§10.2.1).
  const reached = quorumValue(state, (id) => (id === state.self ? log.stable : matchOf(state, id)));
  if (reached <= log.commit || log.term(reached) !== state.term) return;
  log.commit = reached;
  startDeferredReads(state);
  stepDownIfRemoved(state);
}

/**
 * §4.2.2: a leader that was removed steps down once that is committed, and transfers leadership to the most up-to-date
 * member.
 */
function stepDownIfRemoved(state: RaftState): void {
  const { log, configuration, self: from, term } = state;
  if (configuration.index > log.commit || isMember(configuration, from)) return;
  sendHeartbeats(state); // with the new commit index
  const [to] = state.others.sort((a, b) => matchOf(state, b) - matchOf(state, a));
  if (to !== undefined) state.send({ type: "timeoutNow", from, to, term });
  becomeFollower(state, term, 0);
}

function matchOf(state: RaftState, member: number): number {
  return state.progress.get(member)?.match ?? 0;
}

export function sendHeartbeats(state: RaftState): void {
  recordRound(state);
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
    noteCaughtUp(state, committed);
  }
  state.send({ type: "heartbeatResponse", from: self, to: from, term, round });
}

export function onHeartbeatResponse(state: RaftState, { from, round }: HeartbeatResponse): void {
  const progress = state.progress.get(from);
  if (progress === undefined) return;
  progress.respondedToHeartbeat();
  progress.round = Math.max(progress.round, round);
  renewLease(state);
  confirmReads(state);
  if (progress.match < state.log.lastIndex || progress.state === "probe") probe(state, from, progress);
}

/** The connection to a member broke: appends in flight may be lost. */
export function onUnreachable(state: RaftState, peer: number): void {
  const progress = state.progress.get(peer);
  if (progress?.state === "replicate") progress.become("probe");
}

/** The follower has installed a snapshot up to `index`; undefined: the transfer failed. */
export function onSnapshotSent(state: RaftState, to: number, index: number | undefined): void {
  const progress = state.progress.get(to);
  if (progress?.state !== "snapshot") return;
  if (index !== undefined) progress.match = Math.max(progress.match, index);
  progress.become("probe");
  progress.probing = index === undefined; // retry after the next heartbeat response
}
