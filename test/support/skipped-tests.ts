import { existsSync } from "node:fs";
import { release } from "node:os";
import type { Reporter, TestModule, Vitest } from "vitest/node";

export interface SkippedTest {
  /** From the repository's root. */
  readonly file: string;
  /** With the titles of the suites around it. */
  readonly title: string;
}

interface Permission {
  readonly file: RegExp;
  /** Absent: any test of these files. */
  readonly title?: RegExp;
  readonly reason: string;
  /** Whether the reason holds on this machine; absent: everywhere. */
  readonly where?: () => boolean;
}

/** The only tests that may be skipped, each with its reason. Any other skipped test fails the run. */
export const PERMITTED: readonly Permission[] = [
  {
    file: /^test\/object-store\/real-servers\.test\.ts$/,
    title: /: test\/object-store\/install-real-servers\.sh builds it$/,
    reason: "servers that others wrote need Go and minutes to build; .ci/run names those that it requires",
  },
  {
    file: /^test\/(client\/fuse\/(mounting|mounted-\w+|notifications)|e2e\/mount)\.test\.ts$/,
    reason: "mounting needs root and /dev/fuse",
    where: () => !canMount,
  },
  {
    file: /^test\/client\/fuse\/notifications\.test\.ts$/,
    title: /needs Linux 6\.18/,
    reason: "earlier kernels have no FUSE_NOTIFY_PRUNE",
    where: () => linux[0]! < 6 || (linux[0] === 6 && linux[1]! < 18),
  },
];

const linux = release().split(".").map(Number);

const canMount = process.getuid?.() === 0 && existsSync("/dev/fuse");

/** @returns the reasons of the permitted ones with their number, and the rest. */
export function judgeSkipped(skipped: readonly SkippedTest[], permitted: readonly Permission[] = PERMITTED) {
  const reasons = new Map<string, number>();
  const refused: SkippedTest[] = [];
  for (const test of skipped) {
    const found = permitted.find(
      ({ file, title, where }) => file.test(test.file) && (title?.test(test.title) ?? true) && (where?.() ?? true),
    );
    if (found === undefined) refused.push(test);
    else reasons.set(found.reason, (reasons.get(found.reason) ?? 0) + 1);
  }
  return { reasons, refused };
}

/** Reports which tests were skipped and why, and fails the run for each that may not be. */
export default class SkippedTests implements Reporter {
  #vitest!: Vitest;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    // Tests that a filter leaves out count as skipped, too.
    if (this.#vitest.getGlobalTestNamePattern() !== undefined) return;
    const { reasons, refused } = judgeSkipped(modules.flatMap(skippedOf));
    for (const [reason, tests] of reasons) this.#vitest.logger.log(`${tests} skipped: ${reason}`);
    if (refused.length === 0) return;
    for (const { file, title } of refused) this.#vitest.logger.error(`SKIPPED  ${file} > ${title}`);
    this.#vitest.logger.error(
      `the run failed: test/support/skipped-tests.ts permits none of these ${refused.length} skips`,
    );
    process.exitCode = 1;
  }
}

/** A file that failed has failed the run: what a broken hook left out is not counted again. */
function skippedOf(module: TestModule): SkippedTest[] {
  if (!module.ok()) return [];
  return [...module.children.allTests("skipped")].map((test) => ({
    file: module.relativeModuleId,
    title: test.fullName,
  }));
}
