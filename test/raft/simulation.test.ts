import { describe, expect, test } from "vitest";
import { simulate } from "./simulation/simulation.ts";

const SEEDS = 100;

describe("the group survives what the seed brings: crashes, lost writes, lost and late messages, partitions, clocks apart", () => {
  test(`seeds 1 to ${SEEDS}`, async () => {
    const sums = { elections: 0, acknowledged: 0, reads: 0, restores: 0, crashes: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const result = await simulate({ seed });
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += result[name];
    }
    // A simulation in which nothing happens finds nothing.
    expect(sums.elections).toBeGreaterThan(3 * SEEDS);
    expect(sums.acknowledged).toBeGreaterThan(100 * SEEDS);
    expect(sums.reads).toBeGreaterThan(10 * SEEDS);
    expect(sums.crashes).toBeGreaterThan(5 * SEEDS);
    expect(sums.restores).toBeGreaterThan(SEEDS / 2);
  });

  test("a seed is the same run every time", async () => {
    expect(await simulate({ seed: 7 })).toEqual(await simulate({ seed: 7 }));
  });

  test.each([
    [88, "a snapshot's receiver crashed, and the sender waited for its answer for ever"],
    [217, "a window full by bytes, lost whole, was never opened again"],
  ])("seed %i, which once failed: %s", async (seed) => {
    await simulate({ seed });
  });

  test("a disk that confirms before it has synced is found", async () => {
    let found = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const run = simulate({
        seed,
        wrapLog: (log) => {
          const lying = Object.create(log);
          lying.append = (...[hardState, entries, done]: Parameters<typeof log.append>) => {
            log.append({ ...hardState, vote: 0 }, entries.slice(0, -1), done); // the last entry and the vote never arrive
          };
          return lying;
        },
      });
      await run.catch((error: Error) => {
        if (error.message.includes("violated")) found++;
      });
    }
    expect(found).toBeGreaterThan(5);
  });
});
