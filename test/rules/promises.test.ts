import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./source-files.ts";

/** Rows of docs/SEMANTICS.md: | number | promise | test file |. */
const rows = [
  ...readFileSync(join(ROOT, "docs/SEMANTICS.md"), "utf8").matchAll(/^\| (\d+) \| (.+?) \| `?([^|`]+?)`? \|$/gm),
].map(([, number, promise, test]) => ({ number: Number(number), promise: promise!, test: test! }));

describe("docs/SEMANTICS.md: each promise names its test, and the test quotes the promise", () => {
  it("numbers its promises from 1 on, each once", () => {
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.map((row) => row.number)).toEqual(rows.map((_, i) => i + 1));
  });

  it.each(rows)("$number: $promise", ({ promise, test }) => {
    const path = join(ROOT, test);
    expect(existsSync(path), `${test} exists`).toBe(true);
    expect(plain(readFileSync(path, "utf8"))).toContain(plain(promise));
  });
});

/** Without what lines, comments and string literals put between the words. */
function plain(text: string): string {
  return text.replace(/["'`*/+\\]/g, " ").replace(/\s+/g, " ");
}
