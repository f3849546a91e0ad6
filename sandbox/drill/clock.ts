/** Milliseconds of CLOCK_MONOTONIC: one clock for all processes of this machine, which no change of the time of day moves. */
export function nowMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
