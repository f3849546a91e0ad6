import { describe, expect, test } from "vitest";
import type { LogStore } from "../../meta-server/storage/log-store.ts";
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

  test("a disk that confirms before it has synced is found", async () => {
    const found: string[] = [];
    for (let seed = 1; seed <= 20; seed++)
      await simulate({ seed, wrapLog: confirmTooEarly }).catch((error: Error) => found.push(error.message));
    expect(found.filter((message) => message.includes("violated")).length).toBeGreaterThan(3);
  });
});

/** Writes what it was given only when it is given the next: a crash in between loses what was confirmed. */
function confirmTooEarly(log: LogStore): LogStore {
  let held: Parameters<LogStore["append"]> | undefined;
  const early: LogStore = Object.create(log);
  early.append = (hardState, entries, done) => {
    const [heldState, heldEntries] = held ?? [log.stored.hardState, []];
    held = [hardState, entries, done];
    log.append(heldState, heldEntries, done);
  };
  return early;
}
