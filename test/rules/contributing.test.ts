import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./source-files.ts";

/** The questions at the end of CONTRIBUTING.md: a question in bold, then places as `file` · `name`. */
const questions = readFileSync(join(ROOT, "CONTRIBUTING.md"), "utf8")
  .split("\n## Find your way\n")[1]!
  .split("\n- ")
  .slice(1)
  .map((item) => ({ question: (/^\*\*([^*]+)\*\*/.exec(item)?.[1] ?? "?").replace(/\s+/g, " "), item }));

interface Place {
  readonly file: string;
  readonly name: string;
}

/** A name belongs to the file before it; a file alone has the name "". */
function placesIn(item: string): readonly Place[] {
  const places: Place[] = [];
  for (const [, dot, code] of item.matchAll(/(·\s+)?`([^`]+)`/g)) {
    if (dot !== undefined) places.push({ file: places.at(-1)!.file, name: code! });
    else if (/[/.]/.test(code!)) places.push({ file: code!, name: "" });
  }
  return places;
}

describe("CONTRIBUTING.md answers what a newcomer asks", () => {
  it("asks thirteen questions, each with a place for an answer", () => {
    expect(questions).toHaveLength(13);
    expect(questions.filter(({ item }) => placesIn(item).length === 0)).toEqual([]);
  });

  it.each(questions)("$question", ({ item }) => {
    const missing = placesIn(item).filter(({ file, name }) => !holds(file, name));
    expect(missing).toEqual([]);
  });
});

/** `name`: something declared in the file, or used there; `Class.method` is both. */
function holds(file: string, name: string): boolean {
  const path = join(ROOT, file);
  if (!existsSync(path)) return false;
  const text = readFileSync(path, "utf8");
  return name.split(".").every((word) => word === "" || new RegExp(`\\b${word}\\b`).test(text));
}
