import { defineConfig } from "vitest/config";

/** Tests of whole clouds come last and one at a time: they measure time and kill processes. */
const WHOLE = "test/e2e/**/*.test.ts";

/** Fails the run for a skipped test that is not in its list. */
const SKIPPED_TESTS = "./test/support/skipped-tests.ts";

export default defineConfig({
  test: {
    reporters: ["default", SKIPPED_TESTS],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "rooms",
          include: ["test/**/*.test.ts"],
          exclude: [WHOLE],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: "e2e", include: [WHOLE], maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
