import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FAULTS } from "../faults/faults.ts";
import { replaceOnce } from "../simulation/environment/hooks.ts";
import { ROOT } from "./source-files.ts";

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const trackRecord = read("docs/TRACK_RECORD.md");

describe("npm run faults: no fault is out of date", () => {
  it("each name is given once", () => {
    expect(FAULTS.map(({ name }) => name)).toEqual([...new Set(FAULTS.map(({ name }) => name))]);
  });

  it.each(FAULTS)("$name fits the sources, and its test is there", ({ replacements, test, title }) => {
    expect(replacements.length).toBeGreaterThan(0);
    const changed = new Map<string, string>();
    for (const one of replacements) changed.set(one.file, replaceOnce(changed.get(one.file) ?? read(one.file), one));
    expect(read(test)).toContain(title ?? "test");
  });

  it("docs/TRACK_RECORD.md names each of them, and no other", () => {
    const named = [...trackRecord.matchAll(/fault `([a-z0-9-]+)`/g)].map(([, name]) => name!);
    expect(named.sort()).toEqual(FAULTS.map(({ name }) => name).sort());
  });
});
