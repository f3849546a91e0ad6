/**
 * Leader leases: §6.4.1. A follower that has heard its leader casts no vote for an election timeout (isHeldOff), so that
 * nobody else leads, and nothing is committed elsewhere, until that time has passed since a quorum *heard* a heartbeat.
 * The leader does not know when that was, only when it *sent*: its lease counts from there, and ends earlier by as much
 * as clocks may run apart.
 */
import { quorumValue, type RaftState } from "./state.ts";

/**
 * A follower counts ticks. The first may come right after it has heard, and each of the others a millisecond early, for a
 * timer knows whole milliseconds. `clockDriftPercent`: by which one member's clock may run faster than another's.
 */
export function leaseDurationMs(times: {
  readonly electionTicks: number;
  readonly tickMs: number;
  readonly clockDriftPercent: number;
}): number {
  return Math.floor(((times.electionTicks - 1) * (times.tickMs - 1)) / (1 + times.clockDriftPercent / 100));
}

/** To be called when heartbeats are sent: each round has one time, and who has answered none has not answered the first. */
export function noteRound(state: RaftState): void {
  if (state.config.leaseMs === undefined) return;
  const { sent } = state.lease;
  if (state.round === (sent.at(-1)?.round ?? 0)) state.round++;
  sent.push({ round: state.round, atMs: state.nowMs });
}

/** To be called when a round was answered. Learners are not asked for votes, so their answers count for nothing. */
export function renewLease(state: RaftState): void {
  const { lease, config } = state;
  if (config.leaseMs === undefined || lease.sent.length === 0) return;
  const answered = quorumValue(state, (id) => (id === state.self ? state.round : (state.progress.get(id)?.round ?? 0)));
  while (lease.sent.length > 1 && lease.sent[1]!.round <= answered) lease.sent.shift();
  const { round, atMs } = lease.sent[0]!;
  if (round <= answered) lease.untilMs = Math.max(lease.untilMs, atMs + config.leaseMs);
}

export function holdsLease(state: RaftState): boolean {
  return state.role === "leader" && !state.lease.givenUp && state.nowMs < state.lease.untilMs;
}

/** For the rest of the term: `timeoutNow` may come late, when the transfer is long given up. */
export function giveUpLease(state: RaftState): void {
  state.lease.givenUp = true;
}
