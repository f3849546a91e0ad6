import type { Replacement } from "../simulation/environment/hooks.ts";

/**
 * One fault put into the production code, and the test that must fail with it. docs/TRACK_RECORD.md says for which failures of other
 * systems, and for which promises, this was done.
 */
export interface Fault {
  readonly name: string;
  /** What the code does with the fault in place, in a sentence. */
  readonly about: string;
  /** Exact texts of production files: one that is not there exactly once is an error, so a fault cannot go stale unseen. */
  readonly replacements: readonly Replacement[];
  /** The file of the test, from the repository's root. */
  readonly test: string;
  /** Part of the title of the tests that guard against it; absent: the whole file. */
  readonly title?: string;
}
