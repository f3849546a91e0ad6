import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { replaceOnce } from "./environment/hooks.ts";
import { MUTANTS } from "./mutants.ts";

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const SEEDS = 20;
const LIMIT_MS = 600_000;

/** Runs `npm run simulate -- ARGS`. In a child process, because the simulator replaces packages. */
async function simulate(...args: string[]): Promise<{ readonly lines: string[]; readonly code: number }> {
  const ran = await run(process.execPath, [MAIN, ...args], { maxBuffer: 1 << 28 }).catch((error) => error);
  return { lines: String(ran.stdout).trim().split("\n"), code: ran.code ?? 0 };
}

/** The counts that a campaign prints, by name. */
function countedIn(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines
      .at(-3)!
      .split(", ")
      .map((one) => one.split(" ")),
  );
}

describe("both regions are correct under crashes, lost writes, disk faults, partitions, clock skew and changes of epoch", () => {
  test(`seeds 1 to ${SEEDS}`, { timeout: LIMIT_MS }, async () => {
    const { lines, code } = await simulate("--seeds", String(SEEDS));
    expect(lines.at(-1), lines.slice(-90).join("\n")).toBe(`${SEEDS} passed, 0 failed`);
    expect(code).toBe(0);
    // A run without activity would prove nothing.
    const counted = countedIn(lines);
    expect(Number(counted.elections)).toBeGreaterThan(3 * SEEDS);
    expect(Number(counted.crashes)).toBeGreaterThan(5 * SEEDS);
    expect(Number(counted.operations)).toBeGreaterThan(100 * SEEDS);
    expect(Number(counted.mirrorReads)).toBeGreaterThan(10 * SEEDS);
    expect(Number(counted.locks)).toBeGreaterThan(2 * SEEDS);
    expect(Number(counted.undecided)).toBe(0);
    for (const rare of ["hit:destroyDisk", "switchovers", "leases"]) {
      expect(Number(counted[rare]), rare).toBeGreaterThan(0);
    }
  });

  test("seeds 1 to 5, with promotions by force that lose changes", { timeout: LIMIT_MS }, async () => {
    const { lines, code } = await simulate("--seeds", "5", "--profile", "promotions");
    expect(lines.at(-1), lines.slice(-90).join("\n")).toBe("5 passed, 0 failed");
    expect(code).toBe(0);
    const counted = countedIn(lines);
    for (const rare of ["promotions", "lost"]) expect(Number(counted[rare]), rare).toBeGreaterThan(0);
  });

  test("a seed is the same run every time", { timeout: LIMIT_MS }, async () => {
    const twice = [await simulate("--seed", "3"), await simulate("--seed", "3", "--trace")];
    const transcripts = twice.map(({ lines }) => / transcript (\w+)/.exec(lines.join("\n"))?.[1]);
    expect(transcripts[0]).toBeDefined();
    expect(transcripts[0]).toBe(transcripts[1]);
  });
});

describe("the simulator is itself tested", () => {
  test("every mutant is caught, or escapes, as it is listed", { timeout: LIMIT_MS }, async () => {
    const { lines, code } = await simulate("--mutants", "--known", "--seeds", "60");
    const escaping = MUTANTS.filter(({ escapes }) => escapes !== undefined).length;
    const caught = MUTANTS.length - escaping;
    const verdict = `${caught} of ${caught} mutants caught, ${escaping} of ${escaping} escape as listed`;
    expect(lines.at(-1), lines.join("\n")).toBe(verdict);
    expect(code).toBe(0);
    // A catch that has moved is no failure: the seeds from 1 on find it too, only later.
    for (const [at, line] of lines.entries()) if (line.includes("no longer catches")) console.warn(line, lines[at + 1]);
  });

  test("a mutant that no longer matches its file is refused", () => {
    const mutation = { file: "core/apply.ts", text: "two", by: "one" };
    expect(replaceOnce("one two three", mutation)).toBe("one one three");
    expect(() => replaceOnce("one three", mutation)).toThrow("0 times, not once");
    expect(() => replaceOnce("two two", mutation)).toThrow("2 times, not once");
  });
});
