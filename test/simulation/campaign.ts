/** Runs many seeds, and sums up what happened in them. */
import { runJobs } from "./pool.ts";
import { problemLine } from "./problem.ts";
import { FAULT_NAMES, type ProfileName } from "./profile.ts";
import type { RunResult } from "./run.ts";

export interface CampaignOptions {
  readonly seeds: readonly number[];
  readonly processes: number;
  readonly steps?: number | undefined;
  readonly profile?: ProfileName | undefined;
  readonly mutant?: string | undefined;
  readonly trace: boolean;
}

const PROGRESS_EVERY = 25;

/** From this many seeds on a campaign must have seen enough of everything: of fewer, chance may leave something out. */
const CAMPAIGN_SEEDS = 100;

/** What must have happened in a campaign: how often for every hundred seeds, at least. About a third of what is usual. */
const LEAST_PER_HUNDRED: Readonly<Record<string, number>> = {
  ...Object.fromEntries(FAULT_NAMES.map((name) => [`hit:${name}`, 10])),
  elections: 500,
  switchovers: 20,
  promotions: 5,
  memberChanges: 8,
  leases: 15,
  locks: 500,
  lost: 20,
  collected: 500,
  mirrorReads: 2_000,
  operations: 25_000,
};

/** Runs the seeds and prints each that fails, with how to replay it. @returns whether none failed, and they showed enough */
export async function simulate(options: CampaignOptions): Promise<boolean> {
  const { seeds, processes, steps, profile, mutant, trace } = options;
  const startedMs = performance.now();
  const results: RunResult[] = [];
  const jobs = seeds.map((seed) => ({ seed, steps, profile }));
  await runJobs({ processes: trace ? 1 : processes, mutant, trace }, jobs, (result) => {
    results.push({ ...result, transcript: [] });
    if (result.problem !== undefined && !trace) report(result, options);
    if (result.problem === undefined && seeds.length === 1) console.log(`seed ${result.seed}: ${summary(result)}`);
    if (results.length % PROGRESS_EVERY === 0 && results.length < seeds.length) {
      console.log(`${results.length} of ${seeds.length} seeds`);
    }
    return "continue";
  });
  const failed = results.filter(({ problem }) => problem !== undefined).length;
  const seconds = (performance.now() - startedMs) / 1000;
  const total = results.reduce((sum, result) => sum + result.steps, 0);
  const totals = totalsOf(results);
  console.log(listed(totals));
  const rates = `${Math.round(total / seconds)} steps/s, ${(results.length / seconds).toFixed(2)} seeds/s`;
  console.log(`${total} steps in ${seconds.toFixed(1)} s: ${rates}`);
  const isWhole = profile === undefined && mutant === undefined && steps === undefined;
  const missing = isWhole ? lacking(totals, results.length) : [];
  for (const line of missing) console.log(line);
  console.log(`${results.length - failed} passed, ${failed} failed`);
  return failed === 0 && missing.length === 0;
}

/** What a campaign of all profiles does not show, although its runs passed; one line each. */
export function lacking(totals: Readonly<Record<string, number>>, seeds: number): readonly string[] {
  const { undecided = 0 } = totals;
  const lines =
    undecided === 0 ? [] : [`${undecided} searches for a linearization have not ended: nothing is shown there`];
  if (seeds < CAMPAIGN_SEEDS) return lines;
  for (const [name, each] of Object.entries(LEAST_PER_HUNDRED)) {
    const least = Math.floor((each * seeds) / 100);
    const seen = totals[name] ?? 0;
    if (seen < least) lines.push(`too little of ${name}: ${seen} in ${seeds} seeds, at least ${least} are needed`);
  }
  return lines;
}

function totalsOf(results: readonly RunResult[]): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const { counts } of results) {
    for (const [name, value] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + value;
  }
  return totals;
}

function summary({ profile, steps, hash, counts }: RunResult): string {
  return `${profile}, ${steps} steps, ${listed(counts)}, transcript ${hash.slice(0, 16)}`;
}

/** The counters on one line. */
function listed(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

function report({ seed, profile, problem, transcript }: RunResult, options: CampaignOptions): void {
  const mutant = options.mutant === undefined ? "" : ` --mutant ${options.mutant}`;
  const asked = options.profile === undefined ? "" : ` --profile ${options.profile}`;
  console.log(transcript.join("\n"));
  console.log(`seed ${seed} (${profile}) failed: ${problemLine(problem!)}`);
  console.log(`  replay: npm run simulate -- --seed ${seed}${mutant}${asked} --trace\n`);
}
