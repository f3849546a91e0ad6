import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "./source-files.ts";

/** Rows of docs/SEMANTICS.md: | number | promise | test file |. */
const rows = [
  ...readFileSync(join(ROOT, "docs/SEMANTICS.md"), "utf8").matchAll(/^\| (\d+) \| (.+?) \| `?([^|`]+?)`? \|$/gm),
].map(([, number, promise, test]) => ({ number: Number(number), promise: promise!, test: test! }));

describe("docs/SEMANTICS.md: each promise names its test, and the test has the promise as its title", () => {
  let titles: ReadonlyMap<string, readonly string[]>;
  beforeAll(() => {
    titles = titlesIn([...new Set(rows.map(({ test }) => test))]);
  }, 180_000);

  it("numbers its promises from 1 on, each once", () => {
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.map((row) => row.number)).toEqual(rows.map((_, i) => i + 1));
  });

  it.each(rows)("$number: $promise", ({ promise, test }) => {
    const found = titles.get(test)!.filter((title) => title.includes(promise));
    expect(found.length, `tests in ${test} that have it as their title and run`).toBeGreaterThan(0);
  });

  it("a skipped test counts as none", () => {
    writeFileSync(
      join(fixture, "some.test.js"),
      `describe("a group", () => {
        test("a promise that is kept", () => {});
        test.skip("a promise that nobody looks at", () => {});
        test.skipIf(true)("another", () => {});
      });`,
    );
    expect(titlesIn(["some.test.js"], fixture).get("some.test.js")).toEqual(["a group > a promise that is kept"]);
  });
});

const fixture = mkdtempSync(join(tmpdir(), "mirrorfs-promises-"));
afterAll(() => rmSync(fixture, { recursive: true, force: true }));

/** The titles of the tests that would run, with those of the suites around them, by file. */
function titlesIn(files: readonly string[], root = ROOT): ReadonlyMap<string, readonly string[]> {
  const list = join(fixture, "list.json");
  const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
  const listing = spawnSync(
    process.execPath,
    [vitest, "list", "--root", root, "--globals", ...files, `--json=${list}`],
    { encoding: "utf8" },
  );
  expect(listing.status, listing.stderr).toBe(0);
  const tests: readonly { name: string; file: string }[] = JSON.parse(readFileSync(list, "utf8"));
  return new Map(
    files.map((file) => [file, tests.filter((it) => relative(root, it.file) === file).map(({ name }) => name)]),
  );
}
