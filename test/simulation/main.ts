/** `npm run simulate`: deterministic simulation of the whole system, from seeds. */
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { simulate } from "./campaign.ts";
import { MUTANTS } from "./mutants.ts";
import { examineMutants, mutantNamed } from "./mutation.ts";
import { PROFILES, type ProfileName } from "./profile.ts";

interface Options {
  readonly seeds?: number;
  readonly from?: number;
  readonly random?: boolean;
  readonly seed?: number;
  readonly steps?: number;
  readonly trace?: boolean;
  readonly profile?: ProfileName;
  readonly mutant?: string;
  readonly mutants?: boolean;
  readonly known?: boolean;
  readonly catches?: number;
  readonly jobs: number;
}

const SEEDS = 100;
/** The most seeds tried for a mutant, counted from 1, and how many of them must catch it. */
const MUTANT_SEEDS = 200;
const CATCHES = 3;
/** Random first seeds lie below this. */
const RANDOM_SEEDS = 1_000_000_000;

const program = new Command("simulate")
  .description("Two regions of three metadata servers, clients and faults in one thread, each run from one seed.")
  .option("--seeds <n>", `how many seeds (${SEEDS}; of each mutant at most ${MUTANT_SEEDS})`, count)
  .option("--from <s>", "the first seed (1)", count)
  .option("--random", "begin at a random seed, which is printed")
  .option("--seed <s>", "this seed alone", count)
  .option("--steps <m>", "faults end after at most this many steps", count)
  .option("--trace", "print the whole transcript")
  .option("--profile <name>", `use this profile of faults: ${PROFILES.join(", ")}`, profile)
  .option("--mutant <name>", "run with this defect in the production code; exit 0 if it is caught", mutant)
  .option("--mutants", "run with each defect in turn, from seed 1 on, and print how many seeds it takes to catch it")
  .option("--known", "with --mutants: try the seed that is known to catch each one first, and stop at one catch")
  .option("--catches <n>", `how many seeds must catch a mutant before the next one is tried (${CATCHES})`, count)
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
  if (mutantNamed(text) === undefined) throw new InvalidArgumentError("there is no such mutant: see --help");
  return text;
}

/** Runs the seeds. With a mutant, all is well if it is caught. */
async function simulateSeeds(options: Options): Promise<boolean> {
  const { seeds = SEEDS, random, seed, steps, trace = false, profile, mutant, jobs } = options;
  const from = random === true ? randomInt(1, RANDOM_SEEDS) : (options.from ?? 1);
  if (random === true) console.log(`repeat: npm run simulate -- --seeds ${seeds} --from ${from}`);
  const all = seed !== undefined ? [seed] : Array.from({ length: seeds }, (_, index) => from + index);
  const isGood = await simulate({ seeds: all, processes: jobs, steps, profile, mutant, trace });
  return mutant === undefined ? isGood : !isGood;
}

function simulateMutants(options: Options, names: readonly string[]): Promise<boolean> {
  const { seeds = MUTANT_SEEDS, known = false, catches = known ? 1 : CATCHES, jobs } = options;
  const limits = { processes: jobs, seedsMax: seeds, catches, knownFirst: known };
  return examineMutants(
    names.map((name) => mutantNamed(name)!),
    limits,
  );
}

program.parse();
const options = program.opts<Options>();
const names = options.mutants === true ? MUTANTS.map(({ name }) => name) : [options.mutant ?? ""];
const isExamined = options.mutants === true || (options.mutant !== undefined && options.seed === undefined);
process.exitCode = (await (isExamined ? simulateMutants(options, names) : simulateSeeds(options))) ? 0 : 1;
