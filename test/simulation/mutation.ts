/** Tests the simulator: runs it with one defect after another in the production code. */
import { MUTANTS, type Mutant } from "./mutants.ts";
import { runJobs } from "./pool.ts";
import { problemLine } from "./problem.ts";
import type { RunResult } from "./run.ts";

export interface MutationOptions {
  readonly processes: number;
  /** The most seeds tried for a mutant. */
  readonly seedsMax: number;
  /** How many seeds must catch it before the next one is tried. */
  readonly catches: number;
  /** Tries the seed that is known to catch it first; without it, the seeds from 1 on are counted. */
  readonly knownFirst: boolean;
}

/** Of a mutant that is marked as escaped, in the short form. */
const ESCAPED_SEEDS = 3;

/** The runs with a mutant so far. */
export class Examined {
  readonly mutant: Mutant;
  tried = 0;
  readonly caught: RunResult[] = [];
  /** How many seeds each catch took. */
  readonly needed: number[] = [];
  /** Runs in which the simulator failed or took too long: they count for nothing. */
  readonly failed: RunResult[] = [];
  #since = 0;

  constructor(mutant: Mutant) {
    this.mutant = mutant;
  }

  add(result: RunResult): void {
    this.tried += 1;
    this.#since += 1;
    if (result.problem === undefined) return;
    if (result.problem.truth === undefined) {
      this.failed.push(result);
      return;
    }
    this.caught.push(result);
    this.needed.push(this.#since);
    this.#since = 0;
  }
}

/** Examines these mutants, and prints how each was caught. @returns whether all is as it is listed */
export async function examineMutants(mutants: readonly Mutant[], options: MutationOptions): Promise<boolean> {
  const left = [...mutants.entries()];
  const examined: Examined[] = [];
  let printed = 0;
  const work = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [number, mutant] = next;
      examined[number] = await examine(mutant, options);
      for (; examined[printed] !== undefined; printed++) print(examined[printed]!, options);
    }
  };
  await Promise.all(Array.from({ length: options.processes }, work));
  const unclean = await controls(examined, options.processes);
  const { ok, lines } = conclude(examined, unclean, options.knownFirst);
  console.log(lines.join("\n"));
  return ok;
}

async function examine(mutant: Mutant, { seedsMax, catches, knownFirst }: MutationOptions): Promise<Examined> {
  const examined = new Examined(mutant);
  const most = knownFirst && mutant.escapes !== undefined ? Math.min(ESCAPED_SEEDS, seedsMax) : seedsMax;
  const seeds = Array.from({ length: most }, (_, index) => index + 1);
  const order = knownFirst && mutant.from !== undefined ? [mutant.from, ...seeds] : seeds;
  const jobs = order.map((seed) => ({ seed, profile: mutant.profile }));
  await runJobs({ processes: 1, mutant: mutant.name }, jobs, (result) => {
    examined.add(result);
    return examined.caught.length >= catches ? "stop" : "continue";
  });
  return examined;
}

/** Runs the seeds that caught a mutant without it: a catch counts only if this run passes. @returns those that do not */
async function controls(examined: readonly Examined[], processes: number): Promise<ReadonlySet<string>> {
  const pairs = new Map(examined.flatMap(({ caught }) => caught).map((result) => [nameOf(result), result]));
  const jobs = [...pairs.values()].map(({ seed, profile }) => ({ seed, profile: profile as Mutant["profile"] }));
  const unclean = new Set<string>();
  await runJobs({ processes }, jobs, (result) => {
    if (result.problem !== undefined) {
      unclean.add(nameOf(result));
      console.log(`seed ${result.seed} (${result.profile}) fails without any mutant: ${problemLine(result.problem)}`);
    }
    return "continue";
  });
  console.log(`${jobs.length} control runs without a mutant, ${unclean.size} of them failed`);
  return unclean;
}

function nameOf({ seed, profile }: Pick<RunResult, "seed" | "profile">): string {
  return `${profile} ${seed}`;
}

function print({ mutant, tried, caught, needed, failed }: Examined, { knownFirst }: MutationOptions): void {
  const { name, profile, escapes } = mutant;
  const rate = knownFirst ? "" : `; seeds needed from 1 on: ${summary(needed)}`;
  const asListed = escapes === undefined ? "" : "; listed as escaped";
  console.log(`${name.padEnd(28)} caught in ${caught.length} of ${tried} seeds (${profile})${rate}${asListed}`);
  if (failed.length > 0) {
    const [first] = failed;
    console.log(`    not counted: ${failed.length} failures of the simulator, seed ${first!.seed}: ${shown(first!)}`);
  }
  if (caught[0] !== undefined) console.log(`    seed ${caught[0].seed}: ${shown(caught[0])}`);
}

function summary(needed: readonly number[]): string {
  if (needed.length === 0) return "none caught it";
  const sorted = [...needed].sort((a, b) => a - b);
  return `${needed.join(", ")} (median ${sorted[(sorted.length - 1) >> 1]}, most ${sorted.at(-1)})`;
}

function shown({ problem }: RunResult): string {
  return problemLine(problem!).split("\n")[0]!.slice(0, 220);
}

/**
 * Whether every mutant is caught, or escapes, as it is listed, and what to do about each that is not. `unclean` are the
 * seeds that fail without any mutant, by nameOf.
 */
export function conclude(
  examined: readonly Examined[],
  unclean: ReadonlySet<string>,
  knownFirst: boolean,
): { readonly ok: boolean; readonly lines: readonly string[] } {
  const lines: string[] = [];
  let caught = 0;
  let escaped = 0;
  for (const one of examined) {
    const first = one.caught.find((result) => !unclean.has(nameOf(result)));
    if (first === undefined && one.mutant.escapes !== undefined) escaped += 1;
    else if (first !== undefined && one.mutant.escapes === undefined) caught += 1;
    lines.push(...adviceOn(one, first, knownFirst));
  }
  const marked = examined.filter(({ mutant }) => mutant.escapes !== undefined).length;
  const others = examined.length - marked;
  lines.push(`${caught} of ${others} mutants caught, ${escaped} of ${marked} escape as listed`);
  return { ok: caught === others && escaped === marked, lines };
}

function adviceOn({ mutant, tried }: Examined, first: RunResult | undefined, knownFirst: boolean): readonly string[] {
  const { name, profile, escapes, from } = mutant;
  if (escapes !== undefined) {
    if (first === undefined) return [];
    return [
      `${name} is listed as escaped, but seed ${first.seed} catches it: in test/simulation/mutants.ts,`,
      `  take \`escapes\` away from it and write \`from: ${first.seed}\``,
    ];
  }
  if (first === undefined) {
    return [
      `${name} is not caught in ${tried} seeds (${profile}). Look for a seed that catches it with`,
      `  npm run simulate -- --mutant ${name} --seeds 1000`,
      "  and write it as `from` in test/simulation/mutants.ts. If there is none, a fault or a check is missing: see docs/SIMULATION.md",
    ];
  }
  if (!knownFirst || from === undefined || from === first.seed) return [];
  return [
    `seed ${from} no longer catches ${name}, seed ${first.seed} does:`,
    `  write \`from: ${first.seed}\` in test/simulation/mutants.ts, so that the tests find it at once`,
  ];
}

export function mutantNamed(name: string): Mutant | undefined {
  return MUTANTS.find((mutant) => mutant.name === name);
}
