/**
 * Leader leases (§6.4.1). A follower disregards vote requests for an election timeout after each heartbeat
 * (isDisregarded). So no other leader can be elected, and nothing else be committed, until an election timeout after a
 * quorum has *received* a heartbeat. The leader only knows when it *sent* the heartbeat: its lease counts from then, and
 * is shortened by the clock drift bound.
 */
import { quorumValue, type RaftState } from "./state.ts";

/**
 * A follower counts its election timeout in ticks. The first tick may come right after the heartbeat, and each of the
 * others up to a millisecond early, since timers count whole milliseconds.
 * `clockDriftPercent`: by how much one member's clock may run faster than another's.
 */
export function leaseDurationMs(times: {
  readonly electionTicks: number;
  readonly tickMs: number;
  readonly clockDriftPercent: number;
}): number {
  return Math.floor(((times.electionTicks - 1) * (times.tickMs - 1)) / (1 + times.clockDriftPercent / 100));
}

/**
 * When heartbeats are sent. Each round has one time of sending; rounds start at 1, since 0 is that of a member without
 * a response.
 */
export function recordRound(state: RaftState): void {
  if (state.config.leaseMs === undefined) return;
  const { sent } = state.lease;
  if (state.round === (sent.at(-1)?.round ?? 0)) state.round++;
  sent.push({ round: state.round, atMs: state.nowMs });
}

/** After a heartbeat response. Learners do not vote, so their responses do not extend the lease. */
export function renewLease(state: RaftState): void {
  const { lease, config } = state;
  if (config.leaseMs === undefined || lease.sent.length === 0) return;
  const acknowledged = quorumValue(state, (id) =>
    id === state.self ? state.round : (state.progress.get(id)?.round ?? 0),
  );
  while (lease.sent.length > 1 && lease.sent[1]!.round <= acknowledged) lease.sent.shift();
  const { round, atMs } = lease.sent[0]!;
  if (round <= acknowledged) lease.untilMs = Math.max(lease.untilMs, atMs + config.leaseMs);
}

export function holdsLease(state: RaftState): boolean {
  return state.role === "leader" && !state.lease.givenUp && state.nowMs < state.lease.untilMs;
}

/** For the rest of the term: a `timeoutNow` may arrive long after the transfer was abandoned. */
export function giveUpLease(state: RaftState): void {
  state.lease.givenUp = true;
}
