import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";
import { spellCheckDocument } from "cspell-lib";
import { describe, expect, it } from "vitest";
import { listFiles, ROOT, sourceFiles } from "./source-files.ts";

const LINE_MAX = 140;
const CELL_MAX = 200;
/** One word a line: names and terms that the dictionaries lack. */
const WORDS = "docs/words.txt";
const SPELLING_MS_MAX = 120_000;

const pages = listFiles("*.md").map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));

describe("every page can be read as it is written", () => {
  it(`no line has over ${LINE_MAX} characters outside tables, code and links' targets`, () => {
    expect(overlong(({ prose }) => prose.filter(({ line }) => !isRow(line)), LINE_MAX)).toEqual([]);
  });

  it(`no cell of a table has over ${CELL_MAX} characters`, () => {
    expect(overlong(({ prose }) => prose.filter(({ line }) => isRow(line)).flatMap(cellsOf), CELL_MAX)).toEqual([]);
  });
});

describe("what a page names exists", () => {
  it("every link leads to a file, and to a heading of it", () => {
    const wrong = pages.flatMap((page) => linksOf(page.text).flatMap((target) => problemOf(page.path, target) ?? []));
    expect(wrong).toEqual([]);
  });

  it("every path of the repository that a page names", () => {
    // What a release of the past was made of may be gone.
    const wrong = pages
      .filter(({ path }) => path !== "CHANGELOG.md")
      .flatMap(({ path, text }) => pathsIn(text).flatMap((name) => (exists(name) ? [] : `${path}: ${name}`)));
    expect(wrong).toEqual([]);
  });

  it("every message that docs/operations/troubleshoot.md explains", () => {
    const sources = sourceFiles().filter(({ path }) => !path.startsWith("test/"));
    const messages = messagesIn(readFileSync(join(ROOT, "docs/operations/troubleshoot.md"), "utf8"));
    expect(messages.length).toBeGreaterThan(20);
    expect(messages.filter((message) => !sources.some(({ text }) => text.includes(message)))).toEqual([]);
  });
});

describe(`spelling: American or British, with the words of ${WORDS}`, () => {
  const words = readFileSync(join(ROOT, WORDS), "utf8").trim().split("\n");

  it("its words are in order, each once", () => {
    expect(words).toEqual([...new Set(words)].sort());
  });

  it("of the pages", { timeout: SPELLING_MS_MAX }, async () => {
    expect(await misspelt(pages, "markdown")).toEqual([]);
  });

  it("of the comments in the sources", { timeout: SPELLING_MS_MAX }, async () => {
    expect(await misspelt(sourceFiles(), "typescript")).toEqual([]);
  });

  /** By the dictionaries that come with cspell-lib: no network is asked. */
  async function misspelt(files: readonly Page[], languageId: "markdown" | "typescript"): Promise<string[]> {
    const language = "en,en-GB";
    const parts =
      languageId === "typescript"
        ? { includeRegExpList: ["CStyleComment"] }
        : { ignoreRegExpList: ["/^\\s*```[\\s\\S]*?^\\s*```/gm", "/`[^`\\n]+`/g", "/\\]\\([^)]*\\)/g"] };
    const wrong: string[] = [];
    for (const { path, text } of files) {
      const { issues } = await spellCheckDocument(
        { uri: pathToFileURL(join(ROOT, path)).href, text, languageId, locale: language },
        { generateSuggestions: false, noConfigSearch: true },
        { words, language, ...parts },
      );
      for (const issue of issues) wrong.push(`${path}:${lineOf(text, issue.offset)}: ${issue.text}`);
    }
    return wrong;
  }

  function lineOf(text: string, offset: number): number {
    return text.slice(0, offset).split("\n").length;
  }
});

interface Page {
  readonly path: string;
  readonly text: string;
}

interface Line {
  readonly number: number;
  readonly line: string;
}

/** Lines outside fenced code, links without their targets, and URLs left out. */
function proseOf(text: string): readonly Line[] {
  let isCode = false;
  return text.split("\n").flatMap((line, index) => {
    if (/^\s*```/.test(line)) {
      isCode = !isCode;
      return [];
    }
    return isCode
      ? []
      : [{ number: index + 1, line: line.replace(/\]\([^)]*\)/g, "]").replace(/https?:\/\/\S+/g, "") }];
  });
}

function overlong(part: (page: { prose: readonly Line[] }) => readonly Line[], max: number): string[] {
  return pages.flatMap(({ path, text }) =>
    part({ prose: proseOf(text) })
      .filter(({ line }) => [...line].length > max)
      .map(({ number, line }) => `${path}:${number}: ${[...line].length} characters`),
  );
}

function isRow(line: string): boolean {
  return line.trimStart().startsWith("|");
}

function cellsOf({ number, line }: Line): readonly Line[] {
  return line.split(/(?<!\\)\|/).map((cell) => ({ number, line: cell.trim() }));
}

function linksOf(text: string): readonly string[] {
  const prose = proseOfLinks(text);
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!).filter((to) => !/^[a-z]+:/.test(to));
}

/** Neither fenced nor inline code holds links. */
function proseOfLinks(text: string): string {
  return text.replace(/^\s*```[\s\S]*?^\s*```/gm, "").replace(/`[^`\n]*`/g, "code");
}

function problemOf(from: string, target: string): string | undefined {
  const [file, heading] = target.split("#") as [string, string | undefined];
  const to = file === "" ? from : normalize(join(dirname(from), file));
  if (!existsSync(join(ROOT, to))) return `${from}: ${target}: there is no ${to}`;
  if (heading === undefined || headingsOf(to).includes(heading)) return undefined;
  return `${from}: ${target}: ${to} has no such heading`;
}

/** As GitHub makes a link of a heading: https://github.com/Flet/github-slugger describes how. */
function headingsOf(path: string): readonly string[] {
  const seen = new Map<string, number>();
  return readFileSync(join(ROOT, path), "utf8")
    .replace(/^\s*```[\s\S]*?^\s*```/gm, "")
    .split("\n")
    .flatMap((line) => /^#{1,6} (.+)$/.exec(line)?.[1] ?? [])
    .map((title) => {
      const plain = title.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
      const slug = plain.replace(/[^\p{L}\p{N}_\- ]/gu, "").replaceAll(" ", "-");
      const times = seen.get(slug) ?? 0;
      seen.set(slug, times + 1);
      return times === 0 ? slug : `${slug}-${times}`;
    });
}

/** Code that reads as a path below one of the repository's folders. */
function pathsIn(text: string): readonly string[] {
  const code = [...text.matchAll(/`([\w@.-]+(?:\/[\w@.-]+)+)`/g)].map((match) => match[1]!);
  return code.filter((path) => /\.(ts|md|proto|sh|yaml|json|txt)$/.test(path) && exists(path.split("/")[0]!));
}

function exists(path: string): boolean {
  return existsSync(join(ROOT, path));
}

/** The code in the first column of the tables whose head says "message". */
function messagesIn(text: string): readonly string[] {
  const tables = text.split("\n\n").filter((part) => part.startsWith("| message |"));
  const cells = tables.flatMap((table) => table.split("\n").slice(2)).map((row) => row.split(/(?<!\\)\|/)[1]!);
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!));
}
