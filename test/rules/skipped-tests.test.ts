import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { judgeSkipped, PERMITTED } from "../support/skipped-tests.ts";
import { listFiles, ROOT } from "./source-files.ts";

describe("no test is skipped that test/support/skipped-tests.ts does not permit", () => {
  it("each permission is for tests that exist", () => {
    const files = listFiles("test/*.test.ts");
    for (const { file, reason } of PERMITTED)
      expect(files.filter((path) => file.test(path)).length, reason).not.toBe(0);
  });

  it("a permission is for its own tests, and only where its reason holds", () => {
    const here = { file: "test/a.test.ts", title: "group > one" };
    const judge = (where: boolean) =>
      judgeSkipped(
        [here, { ...here, file: "test/b.test.ts" }, { ...here, title: "two" }],
        [{ file: /a\.test\.ts$/, title: /one$/, reason: "it is early", where: () => where }],
      );
    expect(judge(true).refused.map(({ file, title }) => [file, title])).toEqual([
      ["test/b.test.ts", "group > one"],
      ["test/a.test.ts", "two"],
    ]);
    expect([...judge(true).reasons]).toEqual([["it is early", 1]]);
    expect(judge(false).refused).toHaveLength(3);
  });
});

describe("a run with vitest", () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "mirrorfs-skipped-"));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  function vitest(tests: string, ...args: readonly string[]) {
    writeFileSync(join(dir, "some.test.js"), tests);
    const program = join(ROOT, "node_modules/vitest/vitest.mjs");
    const reporter = join(ROOT, "test/support/skipped-tests.ts");
    const always = ["run", "--root", dir, "--globals", "--reporter=default", `--reporter=${reporter}`];
    return spawnSync(process.execPath, [program, ...always, ...args], { encoding: "utf8", cwd: dir });
  }

  it("fails for a skipped test, however it was skipped, and names it", () => {
    for (const skipped of [`test.skip("left out", () => {})`, `test("left out", ({ skip }) => skip())`]) {
      const ran = vitest(`test("runs", () => {});\n${skipped};\n`);
      expect(ran.stderr).toContain("SKIPPED  some.test.js > left out");
      expect(ran.status).toBe(1);
    }
  });

  it("passes where nothing is skipped, or only what a filter leaves out", () => {
    const tests = `test("runs", () => {});\ntest("other", () => {});\n`;
    expect(vitest(tests).status).toBe(0);
    expect(vitest(tests, "--testNamePattern", "runs").status).toBe(0);
  });
});
