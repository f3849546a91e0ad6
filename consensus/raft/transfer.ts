/**
 * Leadership transfer (§3.10): the leader stops accepting proposals; once the target's log is complete, the target
 * starts an election at once.
 */
import { giveUpLease } from "./lease.ts";
import type { RaftState } from "./state.ts";

/**
 * Abandoned after an election timeout (tickTransfer), which bounds how long proposals are refused. The voters do not
 * disregard the target's vote request, so the lease must end here, before timeoutNow is sent.
 */
export function startTransfer(state: RaftState, to: number): void {
  if (state.role !== "leader" || !state.others.includes(to)) return;
  giveUpLease(state);
  state.transferTo = to;
  state.transferElapsed = 0;
  sendTimeoutNow(state);
}

/** Repeated after each response of the target, since a message may be lost. */
export function sendTimeoutNow(state: RaftState): void {
  const { self: from, term, transferTo: to, log } = state;
  if (state.progress.get(to)?.match === log.lastIndex) state.send({ type: "timeoutNow", from, to, term });
}

export function tickTransfer(state: RaftState): void {
  if (state.transferTo === 0) return;
  if (++state.transferElapsed >= state.config.electionTicks) state.transferTo = 0;
}
