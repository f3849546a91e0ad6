/** `npm run simulate`: deterministic simulation of the whole system, from seeds. */
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { MUTANTS, type Mutant } from "./mutants.ts";
import { runJobs } from "./pool.ts";
import { PROFILES, type ProfileName } from "./profile.ts";
import type { RunResult } from "./run.ts";

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly seed?: number;
  readonly steps?: number;
  readonly trace?: boolean;
  readonly profile?: ProfileName;
  readonly mutant?: string;
  readonly mutants?: boolean;
  readonly catches: number;
  readonly jobs: number;
}

const PROGRESS_EVERY = 25;
/** The most seeds tried for a mutant, by default. */
const MUTANT_SEEDS = 60;

const program = new Command("simulate")
  .description("Two regions of three metadata servers, clients and faults in one thread, each run from one seed.")
  .option("--seeds <n>", "how many seeds", count, 100)
  .option("--from <s>", "the first seed", count, 1)
  .option("--seed <s>", "this seed alone", count)
  .option("--steps <m>", "faults end after at most this many steps", count)
  .option("--trace", "print the whole transcript")
  .option("--profile <name>", `use this profile of faults: ${PROFILES.join(", ")}`, profile)
  .option("--mutant <name>", "run with this defect in the production code; exit 0 if it is caught", mutant)
  .option(
    "--mutants",
    `run with each defect in turn, until it is caught or ${MUTANT_SEEDS} seeds (--seeds) have passed`,
  )
  .option("--catches <n>", "how many seeds must catch a mutant before the next one is tried", count, 2)
  .option("--jobs <n>", "how many processes", count, availableParallelism())
  .addHelpText("after", `\nMutants:\n${MUTANTS.map(({ name, about }) => `  ${name.padEnd(28)}${about}`).join("\n")}`);

function count(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("must be a whole number above 0");
  return value;
}

function profile(text: string): ProfileName {
  const found = PROFILES.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`must be one of ${PROFILES.join(", ")}`);
  return found;
}

function mutant(text: string): string {
  if (!MUTANTS.some(({ name }) => name === text)) throw new InvalidArgumentError("there is no such mutant: see --help");
  return text;
}

function seedsOf({ seed, seeds, from }: Options, many = seeds): number[] {
  return seed !== undefined ? [seed] : Array.from({ length: many }, (_, index) => from + index);
}

async function simulate(options: Options): Promise<boolean> {
  const seeds = seedsOf(options);
  const startedMs = performance.now();
  let steps = 0;
  const failed: RunResult[] = [];
  const totals: Record<string, number> = {};
  let done = 0;
  const jobs = seeds.map((seed) => ({ seed, steps: options.steps, profile: options.profile }));
  const trace = options.trace === true;
  await runJobs({ processes: trace ? 1 : options.jobs, mutant: options.mutant, trace }, jobs, (result) => {
    done += 1;
    steps += result.steps;
    for (const [name, value] of Object.entries(result.counts)) totals[name] = (totals[name] ?? 0) + value;
    if (result.violation !== undefined) {
      failed.push(result);
      if (!trace) report(result, options.mutant);
    }
    if (options.seed !== undefined && result.violation === undefined)
      console.log(`seed ${result.seed}: ${summary(result)}`);
    if (done % PROGRESS_EVERY === 0 && done < seeds.length) console.log(`${done} of ${seeds.length} seeds`);
    return "continue";
  });
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(listed(totals));
  console.log(`${steps} steps in ${seconds.toFixed(1)} s: ${Math.round(steps / seconds)} steps/s`);
  console.log(`${done - failed.length} passed, ${failed.length} failed`);
  return options.mutant === undefined ? failed.length === 0 : failed.length > 0;
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

function report({ seed, profile, violation, transcript }: RunResult, mutant: string | undefined): void {
  const again = `npm run simulate -- --seed ${seed}${mutant === undefined ? "" : ` --mutant ${mutant}`} --trace`;
  console.log(transcript.join("\n"));
  console.log(`seed ${seed} (${profile}) failed: ${violation}\n  replay: ${again}\n`);
}

/** Returns whether every mutant was caught. */
async function simulateMutants(options: Options, seedsMax: number): Promise<boolean> {
  let missed = 0;
  const startedMs = performance.now();
  for (const one of MUTANTS) if (!(await isCaught(one, options, seedsMax))) missed += 1;
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  console.log(`${MUTANTS.length - missed} of ${MUTANTS.length} mutants caught`);
  return missed === 0;
}

async function isCaught({ name, profile, from }: Mutant, options: Options, seedsMax: number): Promise<boolean> {
  const begin = program.getOptionValueSource("from") === "default" ? (from ?? options.from) : options.from;
  const jobs = seedsOf({ ...options, from: begin }, seedsMax).map((seed) => ({ seed, steps: options.steps, profile }));
  let tried = 0;
  const caught: RunResult[] = [];
  await runJobs({ processes: options.jobs, mutant: name }, jobs, (result) => {
    tried += 1;
    if (result.violation !== undefined) caught.push(result);
    return caught.length >= options.catches ? "stop" : "continue";
  });
  const first = caught[0];
  console.log(`${name.padEnd(28)}caught in ${caught.length} of ${tried} seeds (${profile})`);
  if (first !== undefined) console.log(`    seed ${first.seed}: ${first.violation!.split("\n")[0]!.slice(0, 200)}`);
  return first !== undefined;
}

program.parse();
const options = program.opts<Options>();
const seedsMax = program.getOptionValueSource("seeds") === "default" ? MUTANT_SEEDS : options.seeds;
const isGood = await (options.mutants === true ? simulateMutants(options, seedsMax) : simulate(options));
process.exitCode = isGood ? 0 : 1;
