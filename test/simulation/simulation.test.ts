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

/** What `npm run simulate -- ARGS` prints; the simulator replaces packages in its own process, never in this one. */
async function simulate(...args: string[]): Promise<{ readonly lines: string[]; readonly code: number }> {
  const told = await run(process.execPath, [MAIN, ...args], { maxBuffer: 1 << 28 }).catch((error) => error);
  return { lines: String(told.stdout).trim().split("\n"), code: told.code ?? 0 };
}

describe("both regions survive what the seed brings: crashes, lost writes, broken disks and ways, clocks apart, epochs", () => {
  test(`seeds 1 to ${SEEDS}`, { timeout: LIMIT_MS }, async () => {
    const { lines, code } = await simulate("--seeds", String(SEEDS));
    expect(lines.at(-1), lines.slice(-90).join("\n")).toBe(`${SEEDS} passed, 0 failed`);
    expect(code).toBe(0);
    // A simulation in which nothing happens finds nothing.
    const counted = Object.fromEntries(
      lines
        .at(-3)!
        .split(", ")
        .map((one) => one.split(" ")),
    );
    expect(Number(counted.elections)).toBeGreaterThan(3 * SEEDS);
    expect(Number(counted.crashes)).toBeGreaterThan(5 * SEEDS);
    expect(Number(counted.operations)).toBeGreaterThan(100 * SEEDS);
  });

  test("a seed is the same run every time", { timeout: LIMIT_MS }, async () => {
    const twice = [await simulate("--seed", "3"), await simulate("--seed", "3", "--trace")];
    const transcripts = twice.map(({ lines }) => / transcript (\w+)/.exec(lines.join("\n"))?.[1]);
    expect(transcripts[0]).toBeDefined();
    expect(transcripts[0]).toBe(transcripts[1]);
  });
});

describe("the simulator is itself tested", () => {
  test("every seeded defect is caught", { timeout: LIMIT_MS }, async () => {
    const { lines, code } = await simulate("--mutants", "--catches", "1");
    expect(lines.at(-1), lines.join("\n")).toBe(`${MUTANTS.length} of ${MUTANTS.length} mutants caught`);
    expect(code).toBe(0);
  });

  test("a defect that no longer fits its file is refused", () => {
    const defect = { file: "core/apply.ts", text: "two", by: "one" };
    expect(replaceOnce("one two three", defect)).toBe("one one three");
    expect(() => replaceOnce("one three", defect)).toThrow("0 times, not once");
    expect(() => replaceOnce("two two", defect)).toThrow("2 times, not once");
  });
});
