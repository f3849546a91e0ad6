/** One row of docs/BENCHMARKS.md: a value, and the machine's own baseline in the same run. */
export interface Row {
  readonly id: string;
  readonly value: number;
  readonly unit: "/s" | "ms" | "MB/s" | "ratio";
  /** The closest measurement without mirrorfs, in the same run; null where there is none. */
  readonly baseline: number | null;
  /** How many times as long as the baseline's one takes; null without a baseline of the same kind. */
  readonly slower: number | null;
  readonly aim: number | null;
  /** null where there is no aim. */
  readonly met: boolean | null;
}

export type Better = "more" | "less";

export function row(
  id: string,
  value: number,
  unit: Row["unit"],
  aim?: { better: Better; value: number },
  baseline?: number,
): Row {
  const met = aim === undefined ? null : aim.better === "more" ? value >= aim.value : value <= aim.value;
  return {
    id,
    value: rounded(value),
    unit,
    baseline: baseline === undefined ? null : rounded(baseline),
    slower:
      baseline === undefined || unit === "ratio" ? null : rounded(unit === "ms" ? value / baseline : baseline / value),
    aim: aim === undefined ? null : rounded(aim.value),
    met,
  };
}

/** The value at this quantile (0 to 1). */
export function percentile(values: readonly number[], quantile: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? Number.NaN;
}

/** Rounds to three significant digits. */
function rounded(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(3)) : value;
}
