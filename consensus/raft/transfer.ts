/** Leadership transfer: §3.10. No more proposals; once the target has all, it stands for election at once. */
import { giveUpLease } from "./lease.ts";
import type { RaftState } from "./state.ts";

/**
 * Given up after an election timeout (tickTransfer), so that proposals are refused for no longer than that. The target's
 * election waits for nobody's silence: a lease that rests on that silence must end here, before timeoutNow is sent.
 */
export function startTransfer(state: RaftState, to: number): void {
  if (state.role !== "leader" || !state.others.includes(to)) return;
  giveUpLease(state);
  state.transferTo = to;
  state.transferElapsed = 0;
  hurryTransfer(state);
}

/** Sent again with each answer of the target: the first may be lost. */
export function hurryTransfer(state: RaftState): void {
  const { self: from, term, transferTo: to, log } = state;
  if (state.progress.get(to)?.match === log.lastIndex) state.send({ type: "timeoutNow", from, to, term });
}

export function tickTransfer(state: RaftState): void {
  if (state.transferTo === 0) return;
  if (++state.transferElapsed >= state.config.electionTicks) state.transferTo = 0;
}
