import { describe, expect, test } from "vitest";
import type { Mutant } from "./mutants.ts";
import { conclude, Examined } from "./mutation.ts";
import type { RunResult } from "./run.ts";

const MUTANT: Mutant = { name: "forgets", about: "", profile: "disks", from: 7, replacements: [] };

const run = (seed: number, problem: RunResult["problem"]): RunResult => ({
  seed,
  profile: "disks",
  steps: 1,
  hash: "",
  problem,
  transcript: [],
  counts: {},
});
const passed = (seed: number) => run(seed, undefined);
const violated = (seed: number) => run(seed, { truth: "one state", message: "" });
const crashed = (seed: number) => run(seed, { truth: undefined, message: "a crash, or a time-out" });

function examined(mutant: Mutant, ...results: RunResult[]): Examined {
  const one = new Examined(mutant);
  for (const result of results) one.add(result);
  return one;
}

const CLEAN = new Set<string>();
const verdict = (one: Examined, unclean: ReadonlySet<string> = CLEAN) => {
  const { ok, lines } = conclude([one], unclean, true);
  return { ok, text: lines.join("\n") };
};

describe("a mutant counts as caught", () => {
  test("by a violation of a truth", () => {
    expect(verdict(examined(MUTANT, violated(7)))).toEqual({
      ok: true,
      text: "1 of 1 mutants caught, 0 of 0 escape as listed",
    });
  });

  test("not by a crash or a time-out of the simulator", () => {
    const { ok, text } = verdict(examined(MUTANT, crashed(7), passed(1)));
    expect(ok).toBe(false);
    expect(text).toContain("forgets is not caught in 2 seeds (disks)");
  });

  test("not by a seed that fails without it too", () => {
    expect(verdict(examined(MUTANT, violated(7)), new Set(["disks 7"])).ok).toBe(false);
    expect(verdict(examined(MUTANT, violated(7), violated(8)), new Set(["disks 7"])).ok).toBe(true);
  });

  test("by another seed than the known one, with what to write instead", () => {
    const { ok, text } = verdict(examined(MUTANT, passed(7), passed(1), violated(2)));
    expect(ok).toBe(true);
    expect(text).toContain("seed 7 no longer catches forgets, seed 2 does:\n  write `from: 2`");
  });
});

describe("a mutant that is marked as escaped", () => {
  const escaped: Mutant = {
    name: "hides",
    about: "",
    profile: "disks",
    escapes: "a fault is missing",
    replacements: [],
  };

  test("may escape", () => {
    expect(verdict(examined(escaped, passed(1), crashed(2))).ok).toBe(true);
  });

  test("must lose the mark once it is caught", () => {
    const { ok, text } = verdict(examined(escaped, passed(1), violated(2)));
    expect(ok).toBe(false);
    expect(text).toContain("take `escapes` away from it and write `from: 2`");
  });
});

test("the seeds that each catch took are counted", () => {
  const one = examined(MUTANT, passed(1), violated(2), crashed(3), passed(4), violated(5));
  expect(one.needed).toEqual([2, 3]);
  expect(one.tried).toBe(5);
});
